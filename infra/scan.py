"""Runs checkov over the infrastructure and fails on any failed check.

    python infra/scan.py CHECKOV [BICEP]

CHECKOV is the program; BICEP, where given, compiles the templates, so that they are checked too.
Checkov reads neither imports nor the values that modules get from each other, so most is found in
the expanded environments, where every value is in its place: each becomes one flat template here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ENVIRONMENTS = ("development", "staging", "production")


@dataclass(frozen=True)
class Suppression:
    """A check that we fail on purpose, on one type, in some environments, for a reason."""

    check: str
    type: str
    environments: tuple[str, ...]
    reason: str


SUPPRESSIONS = (
    Suppression(
        "CKV_AZURE_17",
        "Microsoft.Web/sites",
        ENVIRONMENTS,
        "Clients sign in with encrypted tokens; they have no certificates of ours.",
    ),
    Suppression(
        "CKV_AZURE_135",
        "Microsoft.Network/ApplicationGatewayWebApplicationFirewallPolicies",
        ("staging", "production"),
        "Default rule set 2.1 holds the rule against Log4j and is newer than the one asked for.",
    ),
    Suppression(
        "CKV_AZURE_212",
        "Microsoft.Web/sites",
        ENVIRONMENTS,
        "Flex Consumption counts instances in functionAppConfig, and ignores numberOfWorkers.",
    ),
    Suppression(
        "CKV_AZURE_222",
        "Microsoft.Web/sites",
        ("development",),
        "Development has no gateway: the app's own URL is open to the networks of employees alone.",
    ),
    Suppression(
        "CKV_AZURE_225",
        "Microsoft.Web/serverfarms",
        ("development",),
        "Zone redundancy keeps two instances of every function running; development sleeps.",
    ),
)
"""At most five, and each is for what its reason says."""


def expanded(environment: str) -> dict[str, Any]:
    """An environment as one flat ARM template, with our suppressions on the resources they name."""
    path = HERE / "snapshots" / f"{environment}.snapshot.json"
    resources = json.loads(path.read_text())["predictedResources"]
    for resource in resources:
        skipped = [
            {"id": item.check, "comment": item.reason}
            for item in SUPPRESSIONS
            if item.type == resource["type"] and environment in item.environments
        ]
        if skipped:
            resource["metadata"] = {"checkov": skipped}
    return {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": resources,
    }


def _scan(checkov: str, folder: Path, *frameworks: str) -> list[dict[str, Any]]:
    """What checkov says of a folder: one report for each kind of file that it found there."""
    done = subprocess.run(  # noqa: S603 - the operator names the program
        [
            *(checkov, "--directory", str(folder), "--framework", *frameworks),
            *("--skip-download", "--compact", "--quiet", "--output", "json"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    reports = json.loads(done.stdout)
    return reports if isinstance(reports, list) else [reports]


def main(checkov: str, bicep: str | None) -> int:
    """Scan everything; 0 if no check failed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for environment in ENVIRONMENTS:
            (folder / f"{environment}.json").write_text(json.dumps(expanded(environment), indent=1))
        if bicep is not None:
            for entry in ("main", "active"):
                compiled = str(folder / f"{entry}.json")
                subprocess.run(  # noqa: S603 - the operator names the program
                    [bicep, "build", str(HERE / f"{entry}.bicep"), "--outfile", compiled],
                    check=True,
                )
        reports = [*_scan(checkov, folder, "arm"), *_scan(checkov, HERE, "all")]
    failed = passed = 0
    for report in reports:
        summary = report.get("summary", {"passed": 0, "failed": 0, "skipped": 0})
        passed += summary["passed"]
        failed += summary["failed"]
        sys.stdout.write(
            f"checkov {report.get('check_type', '')}: {summary['passed']} passed, "
            f"{summary['failed']} failed, {summary['skipped']} suppressed\n"
        )
        for check in report.get("results", {}).get("failed_checks", []):
            sys.stdout.write(f"{check['check_id']} {check['resource']} {check['check_name']}\n")
    if passed < 300:
        sys.stdout.write("checkov looked at too little to mean anything\n")
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))
