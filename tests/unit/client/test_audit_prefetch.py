"""Reading a log ahead: in order, a few at once, and not after the end."""

from __future__ import annotations

import threading

import pytest

from client.audit.log import Log
from client.audit.prefetch import AT_ONCE, Prefetch
from client.audit.problems import NotProved
from client.audit.trust import Trust
from tests.support.audit_logs import build_log


def test_announced_paths_are_fetched_at_once() -> None:
    together = threading.Barrier(AT_ONCE, timeout=10)

    def fetch(path: str) -> bytes:
        together.wait()
        return path.encode()

    paths = [f"tile/0/{number:03}" for number in range(3 * AT_ONCE)]
    with Prefetch(fetch) as prefetch:
        prefetch.announce(paths)
        assert [prefetch(path) for path in paths] == [path.encode() for path in paths]


def test_each_path_is_fetched_once_and_others_directly() -> None:
    fetched: list[str] = []

    def fetch(path: str) -> bytes | None:
        fetched.append(path)
        return None if path == "b" else path.encode()

    with Prefetch(fetch) as prefetch:
        prefetch.announce(["a", "b"])
        assert [prefetch(path) for path in ("c", "a", "b")] == [b"c", b"a", None]
    assert sorted(fetched) == ["a", "b", "c"]


def test_what_fetching_raises_is_raised_where_it_is_asked_for() -> None:
    def fetch(path: str) -> bytes:
        if path == "b":
            raise OSError(path)
        return b""

    with Prefetch(fetch) as prefetch:
        prefetch.announce(["a", "b"])
        assert prefetch("a") == b""
        with pytest.raises(OSError, match="b"):
            prefetch("b")


def test_a_verification_that_fails_leaves_no_thread_and_does_not_read_on() -> None:
    log = build_log(40 * 256)
    files = log.files()
    files["tile/0/001"] = bytes(8_192)
    read: list[str] = []

    def fetch(path: str) -> bytes | None:
        read.append(path)
        return files.get(path)

    before = threading.active_count()
    with pytest.raises(NotProved, match=r"^tile/0/001: "):
        Log(fetch).verify(Trust.of(log.key.verifier))
    assert threading.active_count() == before
    assert len(read) < 8 + 2 * AT_ONCE
