"""The estimate follows from the snapshots, and development costs at most a tenth of production."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from shutil import copytree
from types import ModuleType

import pytest

from shared.documents.naming import SWEEP_WINDOW
from shared.journal.agenda import SHARDS
from shared.journal.outbox import WINDOW
from shared.policy.models import TenantPolicy
from tests.support.infra.snapshots import ENVIRONMENTS, INFRA, load


def _table(infra: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, infra / "cost.py", *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def cost() -> ModuleType:
    """infra/cost.py, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("cost", INFRA / "cost.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _sums(table: str) -> list[float]:
    last = table.strip().splitlines()[-1]
    return [float(cell.strip(" *").replace(",", "")) for cell in last.split("|")[2:-1]]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    copytree(INFRA, tmp_path / "infra")
    return tmp_path / "infra"


def test_development_costs_a_tenth_at_most() -> None:
    development, staging, production = _sums(_table(INFRA))
    assert 0 < development <= production / 10
    assert development <= staging / 10


def test_the_document_holds_the_estimate() -> None:
    text = (INFRA.parent / "docs" / "cost.md").read_text()
    assert _table(INFRA) in text
    assert _table(INFRA, "timers") in text


def test_prices_say_when_and_whence() -> None:
    prices = json.loads((INFRA / "prices.json").read_text())
    assert prices["date"] == "2026-11-23"
    assert prices["source"].startswith("Assumptions")


@pytest.mark.parametrize(
    ("environment", "old", "new"),
    [
        ("development", '"name": "Standard_RAGZRS"', '"name": "Premium_ZRS"'),
        ("production", '"tier": "WAF_v2"', '"tier": "Another"'),
    ],
)
def test_an_unknown_sku_stops_the_estimate(
    copy: Path, environment: str, old: str, new: str
) -> None:
    path = copy / "snapshots" / f"{environment}.snapshot.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(subprocess.CalledProcessError):
        _table(copy)


def test_a_dedicated_bus_in_development_would_be_noticed(copy: Path) -> None:
    path = copy / "snapshots" / "development.snapshot.json"
    snapshot = json.loads(path.read_text())
    for item in snapshot["predictedResources"]:
        if item["type"] == "Microsoft.ServiceBus/namespaces":
            item["sku"] = {"name": "Premium", "tier": "Premium", "capacity": 1}
            item["properties"]["geoDataReplication"] = {"locations": [{}, {}]}
    path.write_text(json.dumps(snapshot))
    development, _, production = _sums(_table(copy))
    assert development > production / 10


@pytest.mark.parametrize(
    ("kind", "change", "least"),
    [
        # Ten capacity units an instance, at 0.0144 an hour each.
        (
            "Microsoft.Network/applicationGateways",
            {"autoscaleConfiguration": {"minCapacity": 10, "maxCapacity": 10}},
            8 * 10 * 0.0144 * 730,
        ),
        ("Microsoft.OperationalInsights/workspaces", {"retentionInDays": 730}, 100 * 12 * 0.12),
    ],
)
def test_what_is_kept_ready_or_kept_long_costs_more(
    copy: Path, kind: str, change: dict[str, object], least: float
) -> None:
    before = _sums(_table(copy))[2]
    path = copy / "snapshots" / "production.snapshot.json"
    snapshot = json.loads(path.read_text())
    for item in snapshot["predictedResources"]:
        if item["type"] == kind:
            item["properties"] |= change
    path.write_text(json.dumps(snapshot))
    assert _sums(_table(copy))[2] >= before + int(least)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_timers_are_counted_as_they_are_scheduled(cost: ModuleType, environment: str) -> None:
    site = load(environment).one("Microsoft.Web/sites")["properties"]["siteConfig"]
    given = {item["name"]: item["value"] for item in site["appSettings"]}
    periods = {
        "STRONGROOM_OUTBOX_RELAY_SCHEDULE": (cost.RELAY_SECONDS, "*/{} * * * * *", 1),
        "STRONGROOM_UPLOAD_SWEEP_SCHEDULE": (cost.SWEEP_SECONDS, "0 */{} * * * *", 60),
        "STRONGROOM_TENANT_KEY_ROTATION_SCHEDULE": (cost.ROTATION_SECONDS, "0 */{} * * * *", 60),
        "STRONGROOM_RESTORE_DRILL_SCHEDULE": (cost.DRILL_SECONDS, "0 */{} * * * *", 60),
        "STRONGROOM_TRASH_SCHEDULE": (cost.TRASH_SECONDS, "30 */{} * * * *", 60),
    }
    every_minute = {
        "STRONGROOM_BACKUP_SCHEDULE": cost.BACKUP_SECONDS,
        "STRONGROOM_BACKUP_VERIFICATION_SCHEDULE": cost.VERIFICATION_SECONDS,
        "STRONGROOM_RESTORE_SCHEDULE": cost.RESTORE_SECONDS,
        "STRONGROOM_TARGET_COPIES_SCHEDULE": cost.TARGET_SECONDS,
    }
    daily = {"STRONGROOM_TOKEN_KEY_ROTATION_SCHEDULE"}
    every = {name for name in given if name.endswith("_SCHEDULE")}
    assert every == set(periods) | set(every_minute) | daily
    assert set(every_minute.values()) == {60}
    assert {given[name].partition(" ")[2] for name in every_minute} == {"* * * * *"}
    assert {name: given[name] for name in periods} == {
        name: schedule.format(seconds // unit)
        for name, (seconds, schedule, unit) in periods.items()
    }


def test_timers_are_counted_with_the_windows_of_the_code(cost: ModuleType) -> None:
    assert cost.AGENDA_SHARDS == SHARDS
    assert timedelta(seconds=cost.RELAY_WINDOW_SECONDS) == WINDOW
    assert timedelta(hours=1) == SWEEP_WINDOW


def test_a_run_that_finds_nothing_costs_the_same_for_any_number_of_tenants(
    cost: ModuleType,
) -> None:
    use = cost.USES["production"]
    one, many = cost.timers(use, tenants=1), cost.timers(use, tenants=10_000)
    assert one.idle_units == many.idle_units
    # 8 partitions with 3 RU each, every 15 seconds, and less for the slower timers.
    assert 8 * 3 / 15 < one.idle_units / (730 * 3600) < 4


def test_timers_cost_in_proportion_to_the_work(cost: ModuleType) -> None:
    idle = cost.Use(0, 0, 0, 0, 0, 0, 0, 0)
    assert cost.timers(idle).units == cost.timers(idle).idle_units
    assert cost.timers(idle).lists == 0
    # One tenant that uploads one document an hour: 3 LIST calls for each.
    quiet = cost.Use(0, 730, 0, 0, 0, 0, 0, 0)
    assert cost.timers(quiet, tenants=1).lists == 730 * 3
    # One that is always busy: one visit to each of its two partitions in two minutes.
    busy = cost.Use(0, 10_000_000, 0, 0, 0, 0, 0, 0)
    assert cost.timers(busy, tenants=1).relay_units == 2 * 730 * 30 * (10 + 3 + 10)
    assert cost.timers(busy, tenants=1).lists == 730 * 3


def test_a_set_costs_the_same_however_many_there_are_and_whatever_is_stored(
    cost: ModuleType,
) -> None:
    small, large = cost.Use(1, 1_000, 1, 0, 0, 0, 0, 0), cost.Use(9_999, 50_000, 99, 0, 0, 0, 0, 0)
    for use in (small, large):
        asked = cost.timers(use)
        assert asked.sets == use.documents
        assert asked.set_requests / asked.sets == 6 * (2 + 2) + 2 + 3
    # A tenant that is always busy has one in each window, however much it does there.
    busiest = cost.timers(cost.Use(0, 10**9, 0, 0, 0, 0, 0, 0), tenants=1)
    assert busiest.sets == 730 * 30
    assert timedelta(seconds=cost.RELAY_WINDOW_SECONDS) <= timedelta(minutes=5)


def test_both_accounts_of_the_backups_are_counted_once(cost: ModuleType) -> None:
    for environment, use in cost.USES.items():
        lines = [line for line in cost.estimate(environment) if line.what.startswith("storage, b")]
        assert [(line.what, line.amount) for line in lines] == [
            ("storage, backup", f"{use.stored_gigabytes * 2:g} GB"),
            ("storage, backupkeys", f"{use.record_gigabytes:g} GB"),
        ]


def test_content_is_checked_as_often_as_the_default_policy_says(cost: ModuleType) -> None:
    assert TenantPolicy().verification_days == cost.VERIFICATION_DAYS


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_timers_use_little_of_the_throughput_that_is_paid_for(
    cost: ModuleType, environment: str
) -> None:
    database = load(environment).one("Microsoft.DocumentDB/databaseAccounts/sqlDatabases", "strong")
    most = database["properties"]["options"]["autoscaleSettings"]["maxThroughput"]
    use = cost.USES[environment]
    assert cost.timers(use).units / (730 * 3600) < 0.1 * most * use.records_share
