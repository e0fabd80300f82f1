"""What the scanner is told to overlook: little, with reasons, and only where it exists."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from tests.support.infra.snapshots import ENVIRONMENTS, INFRA

spec = importlib.util.spec_from_file_location("infra_scan", INFRA / "scan.py")
assert spec is not None
assert spec.loader is not None
scan = importlib.util.module_from_spec(spec)
sys.modules["infra_scan"] = scan
spec.loader.exec_module(scan)


def test_at_most_five_suppressions_each_with_a_reason() -> None:
    assert len(scan.SUPPRESSIONS) <= 5
    assert all(len(item.reason) > 40 for item in scan.SUPPRESSIONS)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_suppression_is_on_a_resource(environment: str) -> None:
    template = scan.expanded(environment)
    found = {
        (note["id"], resource["type"])
        for resource in template["resources"]
        for note in resource.get("metadata", {}).get("checkov", [])
    }
    assert found == {
        (item.check, item.type) for item in scan.SUPPRESSIONS if environment in item.environments
    }


def test_production_hides_nothing_that_development_needs() -> None:
    hidden = {item.check for item in scan.SUPPRESSIONS if "production" in item.environments}
    assert hidden == {"CKV_AZURE_17", "CKV_AZURE_135", "CKV_AZURE_212"}
