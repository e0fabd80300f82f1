"""Ask pip-audit for known vulnerabilities of pinned requirements: ``audit.py REQUIREMENTS``.

Exit code 1: something is vulnerable, or the audit could not be made at all. A database out of reach
is said and passes: a machine without a network can still check everything else.
"""

from __future__ import annotations

import json
import subprocess
import sys


def main() -> int:
    """Run the audit and say in a line or two what came out."""
    audit = subprocess.run(
        [
            *(sys.executable, "-m", "pip_audit", "--requirement", sys.argv[1]),
            *("--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if not audit.stdout:
        if "onnect" in audit.stderr or "HTTPError" in audit.stderr:
            print("pip-audit: its vulnerability database was not reachable; nothing was audited")
            return 0
        print(audit.stderr, file=sys.stderr)
        return 1

    dependencies = json.loads(audit.stdout)["dependencies"]
    audited = [dependency for dependency in dependencies if "skip_reason" not in dependency]
    if not audited:
        # A package index without advisories answers "not found" to every question.
        print("pip-audit: its vulnerability database was not reachable; nothing was audited")
        return 0
    vulnerable = [dependency for dependency in audited if dependency["vulns"]]
    for dependency in vulnerable:
        for vulnerability in dependency["vulns"]:
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            name, version = dependency["name"], dependency["version"]
            print(f"pip-audit: {name} {version}: {vulnerability['id']}, fixed in {fixed}")
    print(f"pip-audit: {len(audited)} of {len(dependencies)} audited, {len(vulnerable)} vulnerable")
    return 1 if vulnerable else 0


sys.exit(main())
