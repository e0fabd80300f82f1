"""Audit entries: the bytes that are hashed are those of the entry, wherever it was kept."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.journal.entries import Action, Actor, Entry, canonical

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
    trace=TEXT,
    details=st.dictionaries(TEXT, st.one_of(TEXT, st.integers(), st.lists(TEXT, max_size=3))),
)


@given(ENTRIES)
def test_a_kept_entry_is_hashed_as_the_entry_that_is_read_from_it(entry: Entry) -> None:
    kept: dict[str, Any] = json.loads(json.dumps(entry.model_dump(mode="json")))
    read = Entry.model_validate(kept)
    assert read == entry
    assert canonical(kept) == canonical(read.model_dump(mode="json"))


def test_the_canonical_form() -> None:
    fields = {"b": "ä", "a": {"d": [1], "c": ""}}
    assert canonical(fields) == '{"a":{"c":"","d":[1]},"b":"ä"}'.encode()
