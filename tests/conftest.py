from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings

# How long an example takes says more about what else the machine does.
settings.register_profile("strongroom", deadline=None)
settings.load_profile("strongroom")

CONTRACT = "contract"
"""The property of a test's report that names the port and the adapter it ran against."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which port was held to its contract on which adapter."""
    counts: dict[str, Counter[str]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            for key, pair in getattr(report, "user_properties", []):
                if key == CONTRACT:
                    counts.setdefault(pair, Counter())[outcome] += 1
    if not counts:
        return
    terminalreporter.section("contracts")
    for pair, outcomes in sorted(counts.items()):
        said = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items())
        terminalreporter.write_line(f"{pair:<32} {said}")
