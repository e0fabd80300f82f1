"""The estimate follows from the snapshots, and development costs at most a tenth of production."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from shutil import copytree

import pytest

from shared.documents.naming import SWEEP_WINDOW
from shared.journal.agenda import SHARDS
from shared.journal.outbox import WINDOW
from shared.policy.models import TenantPolicy
from tests.support.infra.script import script
from tests.support.infra.snapshots import ENVIRONMENTS, INFRA, load


def _table(infra: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, infra / "cost.py", *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


cost, workload = script("cost"), script("workload")
timing, uses, million = script("timers"), script("use"), script("million")


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
    for arguments in ((), ("timers",), ("tenants",), ("calls",), ("million",)):
        assert _table(INFRA, *arguments) in text, arguments


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
        # Ten capacity units an instance, at 0.0144 an hour each; 25 are busy anyway.
        (
            "Microsoft.Network/applicationGateways",
            {"autoscaleConfiguration": {"minCapacity": 10, "maxCapacity": 10}},
            (10 * 10 - 25) * 0.0144 * 730,
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
def test_timers_are_counted_as_they_are_scheduled(environment: str) -> None:
    site = load(environment).one("Microsoft.Web/sites")["properties"]["siteConfig"]
    given = {item["name"]: item["value"] for item in site["appSettings"]}
    periods = {
        "STRONGROOM_OUTBOX_RELAY_SCHEDULE": (timing.RELAY_SECONDS, "*/{} * * * * *", 1),
        "STRONGROOM_AUDIT_CHECKPOINT_SCHEDULE": (timing.CHECKPOINT_SECONDS, "*/{} * * * * *", 1),
        "STRONGROOM_UPLOAD_SWEEP_SCHEDULE": (timing.SWEEP_SECONDS, "0 */{} * * * *", 60),
        "STRONGROOM_TENANT_KEY_ROTATION_SCHEDULE": (
            timing.ROTATION_SECONDS,
            "0 */{} * * * *",
            60,
        ),
        "STRONGROOM_RESTORE_DRILL_SCHEDULE": (timing.DRILL_SECONDS, "0 */{} * * * *", 60),
        "STRONGROOM_AUDIT_MONITOR_SCHEDULE": (timing.MONITOR_SECONDS, "40 */{} * * * *", 60),
        "STRONGROOM_ACCESS_REVIEWS_SCHEDULE": (timing.REVIEWS_SECONDS, "50 */{} * * * *", 60),
        "STRONGROOM_TRASH_SCHEDULE": (timing.TRASH_SECONDS, "30 */{} * * * *", 60),
    }
    every_minute = {
        "STRONGROOM_BACKUP_SCHEDULE": timing.BACKUP_SECONDS,
        "STRONGROOM_BACKUP_VERIFICATION_SCHEDULE": timing.VERIFICATION_SECONDS,
        "STRONGROOM_RESTORE_SCHEDULE": timing.RESTORE_SECONDS,
        "STRONGROOM_TARGET_COPIES_SCHEDULE": timing.TARGET_SECONDS,
        "STRONGROOM_AUDIT_ATTESTATION_SCHEDULE": timing.ATTESTATION_SECONDS,
        "STRONGROOM_WEBHOOKS_SCHEDULE": timing.WEBHOOKS_SECONDS,
        "STRONGROOM_GRANT_EXPIRY_SCHEDULE": timing.GRANTS_SECONDS,
    }
    daily = {
        "STRONGROOM_TOKEN_KEY_ROTATION_SCHEDULE",
        "STRONGROOM_AUDIT_KEY_ROTATION_SCHEDULE",
    }
    assert given["STRONGROOM_AUDIT_CHECKPOINT_SECONDS"] == str(timing.CHECKPOINT_WINDOW_SECONDS)
    every = {name for name in given if name.endswith("_SCHEDULE")}
    assert every == set(periods) | set(every_minute) | daily
    assert set(every_minute.values()) == {60}
    assert {given[name].partition(" ")[2] for name in every_minute} == {"* * * * *"}
    assert {name: given[name] for name in periods} == {
        name: schedule.format(seconds // unit)
        for name, (seconds, schedule, unit) in periods.items()
    }


def test_timers_are_counted_with_the_windows_of_the_code() -> None:
    assert timing.AGENDA_SHARDS == SHARDS
    assert timedelta(seconds=timing.RELAY_WINDOW_SECONDS) == WINDOW
    assert timedelta(hours=1) == SWEEP_WINDOW


def test_a_run_that_finds_nothing_costs_the_same_for_any_number_of_tenants() -> None:
    use = uses.USES["production"]
    one, many = (timing.timers(replace(use, tenants=n)) for n in (1, 10_000))
    assert one.idle_units == many.idle_units
    # 8 partitions with 6 RU each, every 15 seconds, half of that for the checkpoints of audit logs,
    # as much again for the slower timers, and 0.8 each for the webhooks and the grants, every minute.
    assert 8 * 6 / 15 < one.idle_units / (730 * 3600) < 10 + 2 * 8 * 6 / 60


def test_timers_cost_in_proportion_to_the_work() -> None:
    idle = uses.Use(0, 0, 0, 0, 0)
    assert timing.timers(idle).units == timing.timers(idle).idle_units
    assert timing.timers(idle).lists == 0
    # One tenant that uploads one document an hour: 3 LIST calls for each.
    quiet = uses.Use(0, 730, 0, 0, 0, tenants=1)
    assert timing.timers(quiet).lists == 730 * 3
    # One that is always busy: one visit to each of its two partitions in two minutes.
    busy = timing.timers(uses.Use(0, 10_000_000, 0, 0, 0, tenants=1))
    assert busy.relay_units == 2 * 730 * 30 * (10 + 2 * 6 + 10)
    assert busy.lists == 730 * 3


def test_a_set_costs_the_same_however_many_there_are_and_whatever_is_stored() -> None:
    small, large = uses.Use(1, 1_000, 0, 1, 0), uses.Use(9_999, 50_000, 0, 99, 0)
    for use in (small, large):
        asked = timing.timers(use)
        assert asked.sets == use.documents
        assert asked.set_requests / asked.sets == 6 * (2 + 2) + 2 + 3
    # A tenant that is always busy has one in each window, however much it does there.
    busiest = timing.timers(uses.Use(0, 10**9, 0, 0, 0, tenants=1))
    assert busiest.sets == 730 * 30
    assert timedelta(seconds=timing.RELAY_WINDOW_SECONDS) <= timedelta(minutes=5)


def test_both_accounts_of_the_backups_are_counted_once() -> None:
    for environment, use in uses.USES.items():
        lines = [line for line in cost.estimate(environment) if line.what.startswith("storage, b")]
        assert [(line.what, line.amount) for line in lines] == [
            ("storage, backup", f"{use.stored_gigabytes * 2:g} GB"),
            ("storage, backupkeys", f"{use.record_gigabytes:g} GB"),
        ]


def test_content_is_checked_as_often_as_the_default_policy_says() -> None:
    assert TenantPolicy().verification_days == timing.VERIFICATION_DAYS


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_timers_use_little_of_the_throughput_that_is_paid_for(environment: str) -> None:
    database = load(environment).one("Microsoft.DocumentDB/databaseAccounts/sqlDatabases", "strong")
    most = database["properties"]["options"]["autoscaleSettings"]["maxThroughput"]
    use = uses.USES[environment]
    assert timing.timers(use).units / (730 * 3600) < 0.1 * most
    assert workload.demand(use).peak_units < most


def test_the_bill_follows_the_work_and_not_the_time() -> None:
    """A customer who does nothing costs no request to any store; the timers cost the same for all."""
    idle = [workload.demand(uses.Use(0, 0, 0, 0, 0, tenants=n)) for n in (10, 100_000)]
    assert idle[0] == idle[1]
    assert (idle[0].blob_writes, idle[0].messages, idle[0].key_operations) == (0, 0, 0)
    ten, thousand = (workload.demand(uses.grown(n)) for n in (10, 1_000))
    assert thousand.blob_writes == 100 * ten.blob_writes
    of_timers = idle[0].request_units
    assert thousand.request_units - of_timers == pytest.approx(
        100 * (ten.request_units - of_timers)
    )


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_budget_is_above_the_estimate(environment: str) -> None:
    """Or people are told of it each month, and stop to look."""
    budget = load(environment).one("Microsoft.Consumption/budgets")["properties"]["amount"]
    assert sum(line.dollars for line in cost.estimate(environment)) < budget


def test_what_stands_costs_the_same_with_any_number_of_tenants() -> None:
    [standing] = [row for row in cost.tenants_table().splitlines() if row.startswith("| standing")]
    assert len(set(standing.split("|")[2:-1])) == 1


def test_one_vault_is_enough_for_the_tenants_that_the_document_says() -> None:
    count = 100_000
    use = uses.grown(count)
    asked = timing.timers(use)
    signatures = asked.sets * timing.SIGNATURE_OPERATIONS + asked.checkpoints
    unwraps = workload.demand(use).key_operations - signatures
    busiest = [n / (730 * 3600) * uses.PEAK * 10 for n in (unwraps, signatures)]
    enough = count / (busiest[0] / 500 + busiest[1] / 2_000)
    text = (INFRA.parent / "docs" / "cost.md").read_text()
    assert "{:,.0f} unwraps and {:,.0f} signatures in 10 seconds".format(*busiest) in text
    assert f"about {round(enough, -3):,.0f}. Beyond" in " ".join(text.split())


def test_every_kind_of_work_is_in_the_bill() -> None:
    """More opens alone make each of these lines dearer: an open reads, logs, sends, and runs functions."""
    use = uses.USES["production"]

    def bill(opens: int) -> dict[str, float]:
        return {
            line.what: line.dollars
            for line in cost.estimate("production", replace(use, opens=opens))
        }

    few, many = bill(1_000_000), bill(50_000_000)
    dearer = {what for what in few if many[what] > few[what]}
    assert dearer >= {
        *("Cosmos DB, hundreds of RU/s", "storage, reads of documents", "logs", "logs, kept"),
        *("functions, time", "functions, executions", "Key Vault, operations", "out to clients"),
    }


def test_a_million_costs_by_what_each_asks_for() -> None:
    """Each call that an upload makes more is in one line, a million times."""
    before = million.dollars(workload.UPLOAD, cost.PRICES)
    for field, line, least in (
        ("reads", "Cosmos DB, throughput", 0.3),
        ("changes", "Cosmos DB, throughput", 1.5),
        ("sends", "Service Bus, as Standard charges", 0.5),
        ("blob_writes", "storage, transactions", 10),
        ("deliveries", "functions", 10),
        ("commits", "logs", 2),
    ):
        more = replace(workload.UPLOAD, **{field: getattr(workload.UPLOAD, field) + 1})
        after = million.dollars(more, cost.PRICES)
        assert after[line] >= before[line] + least, field
        assert sum(after.values()) < sum(before.values()) * 1.2, field


@pytest.mark.parametrize(
    ("keys", "dollars"),
    [(10, 50), (250, 1_250), (1_000, 3_125), (4_000, 6_625), (100_000, 45_025)],
)
def test_keys_in_hardware_become_cheaper_the_more_there_are(keys: int, dollars: float) -> None:
    assert cost.tenant_keys(keys) == pytest.approx(dollars)


def test_keys_in_software_cost_nothing_each() -> None:
    use = uses.grown(1_000)
    hard, soft = (
        {line.what: line.dollars for line in cost.estimate("production", use, protection)}
        for protection in ("hardware", "software")
    )
    assert (hard["keys of tenants"], soft["keys of tenants"]) == (pytest.approx(3_125), 0)
    assert {what for what in hard if hard[what] != soft[what]} == {"keys of tenants"}
