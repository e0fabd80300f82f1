"""The templates compile, lint, are formatted, and still give the committed snapshots."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.infra.snapshots import ENVIRONMENTS, INFRA
from tests.support.required import require

TEMPLATES = sorted(INFRA.glob("*.bicep")) + sorted(INFRA.glob("modules/*.bicep"))
PARAMETERS = sorted(INFRA.glob("*.bicepparam"))


def _bicep() -> str | None:
    beside = INFRA.parents[1] / "shared" / "tools" / "bicep"
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("bicep")


@pytest.fixture
def bicep() -> None:
    """The Bicep CLI must be there; see ``require``."""
    require(_bicep() is not None, "there is no Bicep CLI here: the templates were not compiled")


needs_bicep = pytest.mark.usefixtures("bicep")


def _run(*arguments: str | Path) -> str:
    done = subprocess.run(
        [str(_bicep()), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    # A warning leaves the exit code at 0, and is printed here.
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@needs_bicep
def test_everything_compiles_into_an_order_that_azure_can_keep(tmp_path: Path) -> None:
    """Compiling takes long, so what is asked of the outcome is asked here."""
    folder = tmp_path / "infra"
    shutil.copytree(INFRA, folder)
    _run("build", "--pattern", f"{folder}/*.bicep")
    _run("build-params", "--pattern", f"{folder}/*.bicepparam")
    for path in PARAMETERS:
        assert json.loads((folder / f"{path.stem}.json").read_text())["parameters"]
    assert json.loads((folder / "active.json").read_text())["resources"]
    main = json.loads((folder / "main.json").read_text())["resources"]
    _check_that_a_store_gets_one_endpoint_at_a_time(main)
    _check_that_the_role_for_the_keys_is_given_long_before_a_store_uses_them(main)


def _check_that_a_store_gets_one_endpoint_at_a_time(main: dict[str, Any]) -> None:
    """Two at once fail: "an operation is in progress which requires exclusive access"."""
    assert "primaryEndpoints" in main["standbyEndpoints"]["dependsOn"]
    assert "primaryEndpoints" in main["active"]["dependsOn"]
    active = main["active"]["properties"]["template"]["resources"]["activeEndpoints"]
    assert (active["copy"]["mode"], active["copy"]["batchSize"]) == ("serial", 1)


def _check_that_the_role_for_the_keys_is_given_long_before_a_store_uses_them(
    main: dict[str, Any],
) -> None:
    def before(name: str) -> set[str]:
        needed = set(main[name].get("dependsOn", []))
        return needed.union(*(before(other) for other in needed))

    slow = {"platformKeys", "primaryNetwork", "standbyNetwork", "platformKeyring"}
    stores = ("primaryStore", "replica", "backup", "backupKeys", "archive", "records", "bus")
    for store in (*stores, "active"):
        assert slow <= before(store), store
    assert all("platformKeys" in before(name) for name in ("primaryNetwork", "standbyNetwork"))


@needs_bicep
def test_everything_lints() -> None:
    _run("lint", "--pattern", f"{INFRA}/**/*.bicep")
    _run("lint", "--pattern", f"{INFRA}/*.bicepparam")


@needs_bicep
def test_linter_is_listening(tmp_path: Path) -> None:
    shutil.copytree(INFRA, tmp_path / "infra")
    careless = tmp_path / "infra" / "modules" / "careless.bicep"
    careless.write_text("param location string\n")
    done = subprocess.run(
        [str(_bicep()), "lint", str(careless)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Error no-unused-params" in done.stdout + done.stderr


@needs_bicep
def test_everything_is_formatted(tmp_path: Path) -> None:
    copy = tmp_path / "infra"
    shutil.copytree(INFRA, copy)
    _run("format", "--pattern", f"{copy}/**/*.bicep")
    _run("format", "--pattern", f"{copy}/*.bicepparam")
    changed = [
        path.name
        for path in TEMPLATES + PARAMETERS
        if (copy / path.relative_to(INFRA)).read_text() != path.read_text()
    ]
    assert changed == []


@needs_bicep
@pytest.mark.timeout(600)
def test_snapshots_are_current() -> None:
    done = subprocess.run(
        [INFRA / "snapshot", "--check"],
        env=os.environ | {"BICEP": str(_bicep())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_linter_rule_is_an_error() -> None:
    rules = json.loads((INFRA / "bicepconfig.json").read_text())["analyzers"]["core"]["rules"]
    assert len(rules) >= 55
    assert {rule["level"] for rule in rules.values()} == {"error"}


def test_linter_exceptions_are_few_and_have_reasons() -> None:
    exceptions = [
        line.strip()
        for path in TEMPLATES + PARAMETERS
        for line in path.read_text().splitlines()
        if "#disable" in line
    ]
    # Diagnostic settings alone: their one stable version knows no category groups.
    assert {line.split(" // ")[0] for line in exceptions} == {
        "#disable-next-line use-recent-api-versions"
    }
    assert all(len(line.split(" // ")[1]) > 20 for line in exceptions)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_snapshot_is_small_and_says_nothing_of_its_maker(environment: str) -> None:
    text = (INFRA / "snapshots" / f"{environment}.snapshot.json").read_text()
    assert len(text) < 500 * 1024
    assert not re.search(r"/(tmp|home|root|Users|mnt|opt)/", text)
    assert json.loads(text)["diagnostics"] == []


@needs_bicep
def test_witnesses_and_an_authority_are_let_through_and_set(tmp_path: Path) -> None:
    """With them, unlike in the snapshots: one rule more, and settings without ends of lines."""
    shutil.copytree(INFRA, tmp_path / "infra")
    environments = tmp_path / "infra" / "environments.bicep"
    none = "{ witnessPolicy: '', timestampUrl: '', timestampRoots: '', hosts: [] }"
    named = (
        "{ witnessPolicy: 'witness a b c\\nquorum a\\n', timestampUrl: 'https://tsa.example/tsr'"
        ", timestampRoots: 'x\\ny', hosts: ['witness.example', 'tsa.example'] }"
    )
    text = environments.read_text()
    assert text.count(none) == len(ENVIRONMENTS)
    environments.write_text(text.replace(none, named))
    _run(
        *("snapshot", tmp_path / "infra" / "staging.bicepparam", "--mode", "overwrite"),
        *("--tenant-id", "00000000-0000-4000-8000-0000000000ff"),
        *("--subscription-id", "00000000-0000-4000-8000-000000000002"),
        *("--deployment-name", "strongroom", "--location", "westeurope"),
    )
    found = json.loads((tmp_path / "infra" / "staging.snapshot.json").read_text())
    kinds = {each["type"]: each.get("properties", {}) for each in found["predictedResources"]}
    group = kinds["Microsoft.Network/firewallPolicies/ruleCollectionGroups"]
    rules = {rule["name"]: rule for each in group["ruleCollections"] for rule in each["rules"]}
    rule = rules["witnesses-and-time-stamps"]
    assert rule["targetFqdns"] == ["witness.example", "tsa.example"]
    assert rule["protocols"] == [{"protocolType": "Https", "port": 443}]
    settings = {
        each["name"]: each["value"]
        for each in kinds["Microsoft.Web/sites"]["siteConfig"]["appSettings"]
    }
    assert settings["STRONGROOM_AUDIT_WITNESS_POLICY"] == "witness a b c|quorum a|"
    assert settings["STRONGROOM_AUDIT_TIMESTAMP_URL"] == "https://tsa.example/tsr"
    assert settings["STRONGROOM_AUDIT_TIMESTAMP_ROOTS"] == "x|y"
