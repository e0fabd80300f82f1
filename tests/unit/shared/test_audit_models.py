"""Audit entries: the bytes that are hashed are those of the entry, wherever it was kept."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.access.principal import Origin, Principal
from shared.adapters.memory.records import MemoryRecords
from shared.crypto import merkle
from shared.crypto.canonical import MAX_INTEGER, canonical_json
from shared.journal.entries import (
    MAX_DETAILS_BYTES,
    MAX_ENTRY_BYTES,
    MAX_USER_AGENT,
    Action,
    Actor,
    Entry,
)
from shared.journal.journal import Journal
from shared.ports.clock import Runtime
from tests.support.clock import FakeClock

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ENTRIES = st.builds(
    Entry,
    id=TEXT,
    time=st.datetimes(
        datetime.fromisoformat("1970-01-02"),
        datetime.fromisoformat("9998-01-01"),
        timezones=st.sampled_from([timezone(timedelta(hours=hours)) for hours in (-8, 0, 9)]),
    ),
    tenant=TEXT,
    actor=st.builds(Actor, id=TEXT),
    action=st.sampled_from(Action),
    resource=TEXT,
    outcome=st.sampled_from(["allowed", "refused", "failed"]),
    reason=TEXT,
    address=TEXT,
    user_agent=TEXT,
    request=TEXT,
    grant=TEXT,
    trace=TEXT,
    details=st.dictionaries(
        TEXT,
        st.one_of(TEXT, st.integers(-MAX_INTEGER, MAX_INTEGER), st.lists(TEXT, max_size=3)),
    ),
)


@given(ENTRIES)
def test_a_kept_entry_is_hashed_as_the_entry_that_is_read_from_it(entry: Entry) -> None:
    kept: dict[str, Any] = json.loads(json.dumps(entry.model_dump(mode="json")))
    read = Entry.model_validate(kept)
    assert read == entry
    assert canonical_json(kept) == canonical_json(read.model_dump(mode="json"))


# An entry of release 0.1.0, as its records hold it and its log has hashed it.
OLD = {
    "id": "aud_01kdvcn800zzzzzzzzzzzzzzzz",
    "time": "2026-01-01T00:00:00Z",
    "tenant": "ten_01kdvcn800zzzzzzzzzzzzzzzz",
    "actor": {"kind": "user", "id": "usr_01kdvcn800zzzzzzzzzzzzzzzz"},
    "action": "document.open",
    "resource": "doc_01kdvcn800zzzzzzzzzzzzzzzz",
    "outcome": "allowed",
    "reason": "",
    "address": "203.0.113.7",
    "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
    "details": {"version": 1, "start": 0, "end": 7},
}
OLD_BYTES = (
    b'{"action":"document.open","actor":{"id":"usr_01kdvcn800zzzzzzzzzzzzzzzz","kind":"user"},'
    b'"address":"203.0.113.7","details":{"end":7,"start":0,"version":1},'
    b'"id":"aud_01kdvcn800zzzzzzzzzzzzzzzz","outcome":"allowed","reason":"",'
    b'"resource":"doc_01kdvcn800zzzzzzzzzzzzzzzz","tenant":"ten_01kdvcn800zzzzzzzzzzzzzzzz",'
    b'"time":"2026-01-01T00:00:00Z","trace":"4bf92f3577b34da6a3ce929d0e0e4736"}'
)
OLD_LEAF = "83727b2ebdd48602db21b0c49f8a82531c600a7d1a593a57a8f3881802699925"


def test_an_entry_of_an_earlier_release_keeps_its_bytes_and_its_leaf() -> None:
    kept = Entry.model_validate(OLD).model_dump(mode="json")
    assert canonical_json(kept) == OLD_BYTES
    assert merkle.leaf_hash(OLD_BYTES).hex() == OLD_LEAF


def test_the_largest_entry_fits_into_a_bundle_with_room_for_what_is_sealed() -> None:
    runtime = Runtime(FakeClock(), os.urandom)
    journal = Journal(MemoryRecords(runtime.clock), None, "development", runtime)  # type: ignore[arg-type]
    origin = Origin("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "00-" + "1" * 32 + "-" + "2" * 16 + "-01",
                    "\x01" * MAX_USER_AGENT, "req_" + "0" * 26)  # fmt: skip
    by = Principal("ten_" + "0" * 26, "usr_" + "0" * 26, (), origin)
    room = MAX_DETAILS_BYTES - len(canonical_json({"route": ""}))
    entry = journal.entry(
        Action.REQUEST, "doc_" + "0" * 26, by=by, refused="x" * 64, details={"route": "x" * room}
    )
    assert len(canonical_json(entry.model_dump(mode="json"))) < MAX_ENTRY_BYTES / 2
    with pytest.raises(ValueError, match="at most 16384 bytes"):
        journal.entry(Action.REQUEST, by=by, refused="x", details={"route": "x" * (room + 1)})
