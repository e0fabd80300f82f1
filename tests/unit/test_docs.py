"""What the documentation points to exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_threat_names_a_test_that_exists() -> None:
    rows = [
        line
        for name in ("threat-model.md", "threat-model-network.md")
        for line in (ROOT / "docs" / name).read_text().splitlines()
        if re.match(r"\| [STRIDE]+ \|", line)
    ]
    assert len(rows) > 30
    for row in rows:
        tests = re.findall(r"`(tests/[\w/.]+)`", row)
        assert tests, row
        for test in tests:
            assert (ROOT / test).exists(), test
