"""The estimate follows from the snapshots, and development costs at most a tenth of production."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pytest

from tests.support.infra.snapshots import INFRA


def _table(infra: Path) -> str:
    done = subprocess.run(
        [sys.executable, infra / "cost.py"], capture_output=True, text=True, check=True
    )
    return done.stdout


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
    assert _table(INFRA) in (INFRA.parent / "docs" / "cost.md").read_text()


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
