"""The ids that a process remembers."""

from __future__ import annotations

from shared.base.recent_ids import RecentIds


def test_the_oldest_id_goes_where_there_are_too_many() -> None:
    ids = RecentIds(2)
    for added in ("a", "b", "b", "c"):
        ids.add(added)
    assert [name for name in ("a", "b", "c") if name in ids] == ["b", "c"]
