"""Memory that is used again: never while somebody can still see it."""

from __future__ import annotations

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
    again = kept.obj
    del kept
    assert memory.take(900).obj is again


def test_so_much_is_kept_and_no_more_and_a_larger_piece_is_new() -> None:
    memory = Reused(2)
    held = [memory.take(100) for _ in range(5)]
    kept = {id(view.obj) for view in held[:2]}
    del held
    assert {id(memory.take(100).obj) for _ in range(5)} <= kept
    large = memory.take(200)
    assert len(large) == 200
    assert id(large.obj) not in kept
    assert len(memory.take(0)) == 0
