"""What the documentation points to exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.audit.evidence import SUBJECTS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_decisions_are_numbered_and_of_one_form() -> None:
    pages = sorted((ROOT / "docs" / "decisions").iterdir())
    assert len(pages) > 20
    for number, page in enumerate(pages, start=1):
        text = page.read_text()
        assert page.name.startswith(f"{number:04d}-"), page.name
        assert text.startswith(f"# {number}. "), page.name
        parts = re.findall(r"^\*\*([A-Z][a-z]+(?: of)?)\.?\*\*", text, re.MULTILINE)
        form = ("Context", "Decision", "Why", "Instead of", "So")
        assert parts == [part for part in form if part in parts], page.name
        assert len(parts) > 2, page.name
        assert set(form[:2]) <= set(parts), page.name


def threats(page: str) -> list[str]:
    lines = (ROOT / "docs" / page).read_text().splitlines()
    return [line for line in lines if re.match(r"\| [STRIDE]+ \|", line)]


def test_every_threat_names_a_test_that_exists() -> None:
    rows = threats("threat-model.md")
    assert len(rows) > 30
    for row in rows:
        tests = re.findall(r"`(tests/[\w/.]+)`", row)
        assert tests, row
        for test in tests:
            assert (ROOT / test).exists(), test


def test_every_control_names_a_test_that_exists_and_evidence_that_is_collected() -> None:
    lines = (ROOT / "docs" / "controls.md").read_text().splitlines()
    rows = [line.strip("|").split("|") for line in lines if "`tests/" in line]
    assert len(rows) > 10
    for row in rows:
        tests = re.findall(r"`(tests/[\w/.]+)`", row[-1])
        assert tests, row
        for test in tests:
            assert (ROOT / test).exists(), test
        assert set(re.findall(r"`([a-z -]+)`", row[-2])) <= SUBJECTS, row
    named = {subject for row in rows for subject in re.findall(r"`([a-z -]+)`", row[-2])}
    assert named == SUBJECTS


def test_every_threat_of_the_network_names_a_promise_that_is_checked() -> None:
    rows = threats("threat-model-network.md")
    assert len(rows) > 10
    code = "".join(page.read_text() for page in (ROOT / "tests").rglob("infra/*.py"))
    checks = set(re.findall(r"^def (\w+)", code, re.MULTILINE))
    for row in rows:
        tried_by = row.rsplit("|", 2)[1]
        tests = re.findall(r"`(tests/[\w/.]+)`", tried_by)
        named = re.findall(r"`([a-z_]+)`", tried_by)
        assert tests or named, row
        assert set(named) <= checks, row
        assert all((ROOT / test).exists() for test in tests), row
