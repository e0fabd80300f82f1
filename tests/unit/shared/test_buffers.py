"""Memory that is used again: never while somebody can still see it."""

from __future__ import annotations

import sys

from shared.base.buffers import Reused


def test_memory_is_used_again_once_nobody_sees_it() -> None:
    memory = Reused(2)
    first = memory.take(1_000)
    first[:] = b"a" * 1_000
    kept = first[10:20]
    second = memory.take(1_000)
    second[:] = b"b" * 1_000
    assert bytes(kept) == b"a" * 10
    assert kept.obj is not second.obj
    del first
    third = memory.take(1_000)
    third[:] = b"c" * 1_000
    assert (bytes(kept), bytes(second)) == (b"a" * 10, b"b" * 1_000)
    assert third.obj not in (kept.obj, second.obj), "a slice of the first is still there"
    again = second.obj
    del second
    assert memory.take(900).obj is again


def test_the_newest_are_kept_and_no_more() -> None:
    memory = Reused(2)
    held = [memory.take(100) for _ in range(5)]
    kept = {id(view.obj) for view in held[-2:]}
    del held[:3]
    del held
    assert {id(memory.take(100).obj) for _ in range(5)} <= kept
    assert len(memory.take(0)) == 0
    large = memory.take(200)
    assert len(large) == 200
    assert memory.take(0).obj is not large.obj


def test_memory_that_is_too_small_is_not_kept_for_nothing() -> None:
    """The first segment is smaller than all that follow it."""
    memory = Reused(2)
    held = memory.take(1_048_520)
    seen = []
    for _ in range(6):
        held = memory.take(1_048_560)  # while the one before is held
        seen.append(held.obj)
    assert seen[0] is not seen[1]
    assert all(each is seen[at % 2] for at, each in enumerate(seen))


def test_to_look_whether_memory_is_free_takes_no_more_of_it() -> None:
    memory = Reused(1)
    memory.take(1_048_576)
    size = sys.getsizeof(memory.take(1_048_576).obj)
    assert sys.getsizeof(memory.take(1_048_576).obj) == size <= 1_048_576 + 1_000
