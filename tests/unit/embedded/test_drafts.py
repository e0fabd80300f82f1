"""Drafts: large pieces go past the system's cache where that is possible, and every byte arrives anyway."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.adapters.embedded.drafts import Draft
from shared.adapters.embedded.pieces import PIECE
from shared.base.buffers import Buffer, page_aligned


def aligned(size: int) -> memoryview:
    memory = page_aligned(size)
    memory[:] = os.urandom(size)
    return memory


def misaligned(size: int) -> memoryview:
    return aligned(size + 1)[1:]


class Writes:
    """What was written: how much in each call, and whether past the cache."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[int, bool]] = []
        self._write = os.write
        monkeypatch.setattr(os, "write", self._noted)

    def _noted(self, descriptor: int, data: Buffer) -> int:
        direct = bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT)
        written = self._write(descriptor, data)
        self.made.append((written, direct))
        return written


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Writes:
    return Writes(monkeypatch)


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    return Draft(tmp_path)


@pytest.fixture
def directly(tmp_path: Path) -> bool:
    """Whether the file system of the tests takes such writes; that of memory does not everywhere."""
    try:
        os.close(os.open(tmp_path / "probe", os.O_WRONLY | os.O_CREAT | os.O_DIRECT))
    except OSError:
        return False
    return True


def kept(draft: Draft) -> bytes:
    return Path(draft.path).read_bytes()


def test_whole_pieces_go_past_the_cache_and_the_rest_does_not(
    draft: Draft, writes: Writes, directly: bool
) -> None:
    pieces = [aligned(PIECE), aligned(2 * PIECE), aligned(5_000)]
    for piece in pieces:
        draft.write(piece)
    assert kept(draft) == b"".join(pieces)
    assert writes.made == [(PIECE, directly), (2 * PIECE, directly), (5_000, False)]
    assert draft.size == 3 * PIECE + 5_000


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([misaligned(PIECE), aligned(PIECE)], id="memory that begins within a block"),
        pytest.param([aligned(5_000), aligned(PIECE)], id="a file that does not end with a block"),
        pytest.param([aligned(PIECE + 5_000), aligned(PIECE)], id="a piece and a half"),
        pytest.param([b"", aligned(PIECE), b"x" * 3 * PIECE], id="bytes"),
    ],
)
def test_every_byte_arrives_however_it_lies_in_memory(draft: Draft, pieces: list[Buffer]) -> None:
    for piece in pieces:
        draft.write(piece)
    assert kept(draft) == b"".join(pieces)


def test_what_was_gathered_comes_first(draft: Draft) -> None:
    small, large = aligned(5_000), aligned(PIECE)
    assert not draft.takes(small)
    assert draft.takes(large)
    draft.write(large)
    assert kept(draft) == bytes(small) + bytes(large)


def refuse_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file system that knows no ``O_DIRECT``."""
    control = fcntl.fcntl

    def refuse(descriptor: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETFL and argument & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return control(descriptor, command, argument)

    monkeypatch.setattr(fcntl, "fcntl", refuse)


def lack_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a system that has no ``O_DIRECT``."""
    monkeypatch.delattr(os, "O_DIRECT")


@pytest.mark.parametrize("without", [refuse_direct, lack_direct])
def test_without_such_writes_every_byte_arrives(
    draft: Draft, monkeypatch: pytest.MonkeyPatch, without: Callable[[pytest.MonkeyPatch], None]
) -> None:
    pieces = [aligned(PIECE), aligned(PIECE), aligned(77)]
    without(monkeypatch)
    for piece in pieces:
        draft.write(piece)
    assert kept(draft) == b"".join(pieces)


def test_a_write_that_is_cut_short_goes_on_where_it_ended(
    draft: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:8_192]))
    pieces = [aligned(2 * PIECE), aligned(PIECE)]
    for piece in pieces:
        draft.write(piece)
    assert kept(draft) == b"".join(pieces)


def test_a_disk_that_is_full_is_no_success(draft: Draft, monkeypatch: pytest.MonkeyPatch) -> None:
    draft.write(aligned(PIECE))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            draft.write(aligned(PIECE))
    assert draft.descriptor is not None
    assert not fcntl.fcntl(draft.descriptor, fcntl.F_GETFL) & os.O_DIRECT


def test_what_was_written_past_the_cache_is_overwritten(tmp_path: Path) -> None:
    draft = Draft(tmp_path, erased=True)
    draft.write(aligned(PIECE))
    with Path(draft.path).open("rb") as file:
        draft.discard()
        assert file.read() == bytes(PIECE)
    assert not any(tmp_path.iterdir())
