"""Runbooks can be followed; workflows hold no secret and trust nothing that can change."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import shared.backup.timer as backups
import shared.replication.service as replication
from shared.base.telemetry import METRICS
from tests.support.infra.snapshots import ENVIRONMENTS, INFRA, load

ROOT = INFRA.parent
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text()
CHECKLIST = (ROOT / "docs" / "azure-checklist.md").read_text()


def blocks(page: str) -> list[str]:
    """The commands of a page."""
    found = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    return [re.sub(r"^ {3,4}", "", block, flags=re.MULTILINE) for block in found]


# The runbooks say that the variables of the other page have to be set first.
BLOCKS = [*blocks(OPERATIONS), *blocks(RUNBOOKS), *blocks(CHECKLIST)]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCRIPTS = [INFRA / name for name in ("deploy", "package", "snapshot")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts_stop_at_the_first_failure(script: Path) -> None:
    text = script.read_text()
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in text
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", script], check=True)


def test_every_step_of_the_checklist_has_a_command_and_what_to_expect() -> None:
    steps = re.split(r"^\d+\. (?=\*\*)", CHECKLIST, flags=re.MULTILINE)[1:]
    numbers = re.findall(r"^(\d+)\. \*\*", CHECKLIST, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, len(steps) + 1)]
    assert len(steps) > 20
    for step in steps:
        assert len(blocks(step)) == 1, step
        assert step.count("Expect ") == 1, step


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_command_is_a_command(number: int) -> None:
    done = subprocess.run(
        ["bash", "-n"], input=BLOCKS[number], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_variable_of_a_command_is_set_by_one_before() -> None:
    known = {"PATH", "HOME", "XDG_CONFIG_HOME"}
    for block in BLOCKS:
        for line in block.splitlines():
            used = set(re.findall(r"\$\{?([A-Z][A-Z_]+)", line))
            known |= set(re.findall(r"(?:^|\s|export )([A-Z][A-Z_]+)=", line))
            known |= set(re.findall(r"^read .* ([A-Z_]+)$", line))
            assert used <= known, line


def test_a_subscription_that_was_dropped_is_found(tmp_path: Path) -> None:
    (command,) = (block for block in BLOCKS if "comm -13" in block)
    names = [
        item["name"]
        for item in json.loads((INFRA / "topology.json").read_text())["topics"][0]["subscriptions"]
    ]
    (tmp_path / "az").write_text(
        "#!/bin/sh\nprintf '%s\\n' " + " ".join([*names, "dropped"]) + "\n"
    )
    (tmp_path / "az").chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("dropped\n", "")


def test_every_file_of_a_command_exists() -> None:
    made = {"build/strongroom.zip", "infra/snapshots"}
    named = set(re.findall(r"(?<![\w/.-])(infra/[\w./-]+\w)", OPERATIONS + RUNBOOKS))
    assert [name for name in sorted(named - made) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_trusts_nothing_that_can_change(workflow: Path) -> None:
    text = workflow.read_text()
    actions = re.findall(r"uses: (\S+)", text)
    assert actions
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in actions)
    assert text.count("# v") == len(actions)
    assert "secrets." not in text
    assert "\npermissions: {}\n" in text
    # What a person types reaches a shell only as a variable, never as part of the script.
    for step in re.findall(r"run: \|?\n?((?:.|\n)*?)(?=\n {6}- |\Z)", text):
        assert "${{" not in step.split("env:")[0]


def test_a_release_is_what_its_tag_built_and_goes_to_the_named_app() -> None:
    text = (ROOT / ".github" / "workflows" / "deploy.yml").read_text()
    assert '--source-ref "refs/tags/$RELEASE"' in text
    assert "--signer-workflow" in text
    # Its identity may not read the deployments of the subscription, where the app's name is.
    assert "STRONGROOM_APP_ID: ${{ vars.STRONGROOM_APP_ID }}" in text


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("config-zip", "has Python packages built again at Azure, whatever --build-remote says"),
        ("customDnsConfigs", "is empty where an endpoint has a group of private DNS zones"),
        ('storage account update -n "$VAULT" -g "$GROUP" --sku Standard_RAGZRS', "adds no zones"),
        ("by ClientIP", "is 0.0.0.0: Application Insights keeps no addresses"),
        ("AppExceptions", "is empty: the API answers every exception, and logs it as a line"),
    ],
)
def test_no_command_is_known_to_fail(words: str, why: str) -> None:
    commands = "\n".join(BLOCKS) + "".join(script.read_text() for script in SCRIPTS)
    assert words not in commands, why


def test_regions_of_records_are_changed_while_nothing_else_may_change_them() -> None:
    """Cosmos DB refuses to move the writes by hand while it may do so by itself."""
    changed = [block for block in BLOCKS if "failover-priority-change" in block]
    assert len(changed) == 2
    for block in changed:
        before, _, after = block.partition("failover-priority-change")
        assert "--enable-automatic-failover false" in before
        assert "--enable-automatic-failover true" in after


def test_the_app_runs_behind_its_name_before_a_release_is_waited_for() -> None:
    """Otherwise infra/deploy finds no health, and goes back."""
    _, fail_back = OPERATIONS.split("\n## Fail back\n")
    order = [
        fail_back.index(words)
        for words in (
            "az functionapp start",
            "dns record-set a add-record",
            "infra/deploy production --app",
        )
    ]
    assert order == sorted(order)


def test_azd_looks_for_the_app_where_it_is() -> None:
    (group,) = re.findall(
        r"^resourceGroup: (\S+)$", (ROOT / "azure.yaml").read_text(), re.MULTILINE
    )
    assert f"/resourceGroups/{group}/" in load("development").one("Microsoft.Web/sites")["id"]


def test_workbook_watches_what_the_alerts_watch() -> None:
    text = (INFRA / "workbook.json").read_text()
    for word in (
        "backup.",
        "strongroom.backup.age",
        "strongroom.queue.age",
        "drill.",
        "target.",
        "trash.",
        "document.",
        "replication.",
        "audit.",
        "DeadletteredMessages",
        "Blocked",
        "Deny",
    ):
        assert word in text


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_alerts_look_for_lines_that_the_code_logs(environment: str) -> None:
    logged = tuple(_logged())
    lines = [line for _, line in logged]
    queries = _queries(environment)
    assert len(lines) > 5
    assert not [query for query in queries if "Message" in query and "startswith" not in query]
    slugs = set(re.findall(r'Message startswith "([^"]*)"', " ".join(queries)))
    assert [slug for slug in slugs if not any(line.startswith(slug) for line in lines)] == []
    # And the other way: an error that begins with a slug is looked for, or has an alert on a metric.
    errors = {
        line.split()[0]
        for level, line in logged
        if level == "error" and re.match(r"[a-z]+\.[a-z]+ ", line)
    }
    named = {name.replace("-", ".") for name in _measured(environment)}
    assert errors - slugs - named == set()


METRIC = re.compile(r'Name == "([\w.]+)"')


def _queries(environment: str) -> list[str]:
    return [
        condition["query"]
        for rule in load(environment).of("Microsoft.Insights/scheduledQueryRules")
        for condition in rule["properties"]["criteria"]["allOf"]
    ]


def _measured(environment: str) -> dict[str, tuple[str, str, int]]:
    """Alerts on metrics of our own: by their names the metric, the aggregation and the threshold."""
    snapshot = load(environment)
    (insights,) = snapshot.of("Microsoft.Insights/components")
    found = {}
    for rule in snapshot.of("Microsoft.Insights/metricAlerts"):
        (condition,) = rule["properties"]["criteria"]["allOf"]
        if condition["metricNamespace"] == "azure.applicationinsights":
            assert rule["properties"]["scopes"] == [insights["id"]]
            # Application Insights keeps dimensions of metrics only where that is switched on, for money.
            assert condition["dimensions"] == []
            found[rule["name"]] = (
                condition["metricName"],
                condition["timeAggregation"],
                condition["threshold"],
            )
    for rule in snapshot.of("Microsoft.Insights/scheduledQueryRules"):
        for condition in rule["properties"]["criteria"]["allOf"]:
            for metric in METRIC.findall(condition["query"]):
                found[rule["name"]] = (metric, "", 0)
    return found


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_alerts_look_for_metrics_that_the_code_records(environment: str) -> None:
    recorded = _recorded()
    alerts = _measured(environment)
    assert len(alerts) > 7
    for metric, aggregation, _ in alerts.values():
        assert metric in recorded, metric
        kind = METRICS[metric].kind
        # A sum of ages says nothing, and nor does the largest of counts.
        assert aggregation in ({"Total", ""} if kind == "counter" else {"Maximum", ""}), metric


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_queries_name_attributes_that_their_metrics_have(environment: str) -> None:
    pages = [*_queries(environment), (INFRA / "workbook.json").read_text().replace("'", '"')]
    named = 0
    for page in pages:
        for part in re.split(r"(?=Name (?:==|in) )", page)[1:]:
            metrics = re.findall(
                r'"(strongroom\.[\w.]+)"', part.split("|")[0].split("Properties")[0]
            )
            known = {name for metric in metrics for name in METRICS[metric].attributes}
            asked = set(re.findall(r'Properties\["([\w.]+)"\]', part))
            assert asked <= known, part
            named += len(asked)
    assert named >= 4


def test_limits_of_alerts_are_those_of_the_lines_that_are_logged_with_them() -> None:
    alerts = _measured("production")
    assert alerts["replication-late"][2] == replication.LATE.total_seconds()
    (late,) = [query for query in _queries("production") if "strongroom.backup.age" in query]
    assert f"oldest > {backups.LATE.total_seconds():.0f}" in late


def test_what_is_logged_for_a_metric_is_counted_where_it_is_logged() -> None:
    """The alert's page sends its reader to the lines, so each count has one."""
    counted = {"backup.failed": "BACKUP_FAILURES", "trash.failed": "TRASH_FAILURES"}
    for slug, metric in counted.items():
        assert slug.replace(".", "-") in _measured("production")
        sites = 0
        for path in (ROOT / "shared").rglob("*.py"):
            for block in _blocks(ast.parse(path.read_text())):
                statements = [ast.unparse(each) for each in block]
                if any(each.startswith(f"_log.error('{slug} ") for each in statements):
                    sites += 1
                    assert f"telemetry.{metric}.add(1)" in statements, path
        assert sites, slug


def _blocks(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list):
                yield block


def _recorded() -> set[str]:
    """The metrics that are recorded anywhere, by their names."""
    source = ast.parse((ROOT / "shared" / "base" / "telemetry.py").read_text())
    names = {
        ast.unparse(each.target): str(each.value.args[0].value)
        for each in source.body
        if isinstance(each, ast.AnnAssign)
        and isinstance(each.value, ast.Call)
        and ast.unparse(each.value.func) in {"_counter", "_gauge", "_histogram"}
        and isinstance(each.value.args[0], ast.Constant)
    }
    assert set(names.values()) == set(METRICS)
    used = set()
    for package in ("functions", "shared", "standalone"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            used |= set(re.findall(r"\b([A-Z_]+)\.(?:add|record|set)\(", text))
            used |= set(re.findall(r"\bmeasured\(\s*(?:telemetry\.)?([A-Z_]+)", text))
    return {name for variable, name in names.items() if variable in used}


def test_every_metric_is_recorded_somewhere() -> None:
    assert _recorded() == set(METRICS)


def _logged() -> Iterator[tuple[str, str]]:
    """The level and the text of every line that the app logs, before its values are filled in."""
    for package in ("functions", "shared"):
        for path in (ROOT / package).rglob("*.py"):
            for call in ast.walk(ast.parse(path.read_text())):
                if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("_log."):
                    line = call.args[0]
                    assert isinstance(line, ast.Constant), ast.unparse(call)
                    yield ast.unparse(call.func).removeprefix("_log."), str(line.value)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_timers_whose_silence_is_an_alert_run_often_enough(environment: str) -> None:
    """A timer without a run in the window of its alert would raise it though all is well."""
    snapshot = load(environment)
    site = snapshot.one("Microsoft.Web/sites")["properties"]["siteConfig"]
    schedules = {item["name"]: item["value"] for item in site["appSettings"]}
    silent = [
        (METRIC.findall(condition["query"]), rule["properties"]["windowSize"])
        for rule in snapshot.of("Microsoft.Insights/scheduledQueryRules")
        for condition in rule["properties"]["criteria"]["allOf"]
        if "runs == 0" in condition["query"]
    ]
    assert silent == [(["strongroom.backup.age"], "PT15M")]
    # Each minute, at some second.
    assert re.fullmatch(r"\d+ \* \* \* \* \*", schedules["STRONGROOM_BACKUP_SCHEDULE"])


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_rows_of_the_host_are_not_counted_together_with_spans(environment: str) -> None:
    """On Azure a request, a message and a run of a timer are rows of the host and of the app."""
    pages = [
        *_queries(environment),
        *re.findall(r'"query": "(.*)"', (INFRA / "workbook.json").read_text()),
    ]
    pages += re.findall(r'--analytics-query "([^"]*)"', OPERATIONS)
    asked = [page for page in pages if "AppRequests" in page]
    assert len(asked) > 3
    assert [page for page in asked if "AppRoleName" not in page] == []
