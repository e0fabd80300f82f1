"""The catalogue of audit entries: what code emits, what the journal takes and what is published agree."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from shared.adapters.memory.records import MemoryRecords
from shared.journal.catalogue.schema import LEFT_OUT_IF_EMPTY, MEMBERS, entry_schema
from shared.journal.catalogue.table import CATALOGUE
from shared.journal.entries import ANONYMOUS, Action, Details, Entry
from shared.journal.journal import Journal
from shared.ports.clock import Runtime
from standalone.audit_entries import DOCS, write
from tests.support.clock import FakeClock

ROOT = Path(__file__).parents[3]
RUNTIME = Runtime(FakeClock(), os.urandom)
JOURNAL = Journal(MemoryRecords(RUNTIME.clock), None, "development", RUNTIME)  # type: ignore[arg-type]
TENANT = RUNTIME.new_id("ten")


def emitted() -> set[str]:
    """The names of all actions that code outside the catalogue mentions."""
    found: set[str] = set()
    for package in ("functions", "shared", "standalone"):
        for path in (ROOT / package).rglob("*.py"):
            # These describe every action, former ones included.
            if path.parent.name == "catalogue" or path.name == "ocsf.py":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    found |= {node.attr} if node.value.id == "Action" else set()
    return found


def test_every_action_is_described_and_emitted_unless_it_is_a_former_one() -> None:
    assert list(CATALOGUE) == list(Action)
    current = {action.name for action, described in CATALOGUE.items() if not described.former}
    assert emitted() == current


def test_what_is_published_is_current(tmp_path: Path) -> None:
    write(tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_text() == (DOCS / path.name).read_text(), "run: make catalogue"


def test_the_schema_has_the_members_of_an_entry() -> None:
    schema = entry_schema()
    Draft202012Validator.check_schema(schema)
    fields = Entry.model_fields
    assert sorted(MEMBERS) == sorted(fields) == sorted(schema["properties"])
    left_out = {name for name, each in fields.items() if each.exclude_if is not None}
    assert set(LEFT_OUT_IF_EMPTY) == left_out
    assert set(schema["required"]) == set(fields) - left_out


@pytest.mark.parametrize(
    ("action", "details"),
    [
        (Action.DOCUMENT_LIST, {"document": 1}),
        (Action.DOCUMENT_LIST, {"documents": "1"}),
        (Action.DOCUMENT_LIST, {"documents": True}),
        (Action.DOCUMENT_LIST, {"documents": [1]}),
        (Action.USER_CHANGE, {"roles": "reader"}),
        (Action.POLICY_READ, {"name": "paper.txt"}),
    ],
)
def test_the_journal_refuses_details_that_are_not_described(
    action: Action, details: Details
) -> None:
    with pytest.raises(ValueError, match="the catalogue does not have this detail"):
        JOURNAL.entry(action, tenant=TENANT, details=details)


def test_the_journal_refuses_outcomes_that_are_not_described() -> None:
    with pytest.raises(ValueError, match=r"has no entry document\.heal"):
        JOURNAL.entry(Action.FORMER_REPAIR, tenant=TENANT)
    with pytest.raises(ValueError, match=r"entry document\.list that is failed"):
        JOURNAL.entry(Action.DOCUMENT_LIST, tenant=TENANT, failed="damaged")
    with pytest.raises(ValueError, match=r"entry document\.lost that is allowed"):
        JOURNAL.entry(Action.DOCUMENT_LOST, tenant=TENANT)


def kept(entry: Entry, **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(json.dumps(entry.model_dump(mode="json")))
    return body | changes


def test_the_schema_takes_entries_as_they_are_and_nothing_else() -> None:
    validator = Draft202012Validator(entry_schema())
    document = RUNTIME.new_id("doc")
    good = JOURNAL.entry(
        Action.DOCUMENT_REPLICATE,
        document,
        tenant=TENANT,
        details={"version": 1, "copy": "replica", "size": 7},
    )
    refused = JOURNAL.entry(
        Action.REQUEST,
        by=ANONYMOUS,
        tenant="operator",
        refused="forbidden",
        details={"route": "GET /x"},
    )
    for entry in (kept(good), kept(refused), kept(refused, resource=document, user_agent="curl")):
        validator.validate(entry)
    for wrong in (
        kept(good, tenant="alpha"),
        kept(good, time="2026-01-01T00:00:00+01:00"),
        kept(good, actor={"kind": "user", "id": "usr_x"}),
        kept(good, actor={"kind": "user", "id": RUNTIME.new_id("usr")}),
        kept(good, action="document.copy"),
        kept(good, resource=TENANT),
        kept(good, resource=""),
        kept(good, outcome="failed", reason="damaged"),
        kept(good, reason="damaged"),
        kept(good, details={"version": 1, "copy": "replica"}),
        kept(good, details={"version": 1, "copy": "replica", "size": 7, "name": "paper.txt"}),
        kept(good, details={"version": 1.5, "copy": "replica", "size": 7}),
        kept(good, grant=""),
        kept(good, request="req_x"),
        kept(good, user_agent="x" * 257),
        kept(good, trace="x"),
        kept(good, more=""),
        kept(refused, outcome="allowed"),
        kept(refused, details={}),
        {name: value for name, value in kept(good).items() if name != "details"},
    ):
        assert not validator.is_valid(wrong), wrong
