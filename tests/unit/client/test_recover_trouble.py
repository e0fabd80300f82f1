"""``strongroom recover`` when the storage, the disk or whoever runs it gets in its way."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from client.recover.source import Missing, Read, Refused, Source, SourceError, Unreachable
from tests.support.target_writer import Written

from .conftest import Customer


@pytest.fixture
def documents(customer: Customer) -> list[Written]:
    return [customer.writer.add(name, name.encode()) for name in ("a.txt", "b.txt")]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make reads of some objects fail, once the first of them was asked for."""
    read = Source.read

    def fail(error: SourceError, *names: str) -> None:
        failing: list[str] = []

        async def read_or_fail(source: Source, name: str, start: int, end: int) -> Read:
            if name == names[0]:
                failing.extend(names)
            if name in failing:
                raise error
            return await read(source, name, start, end)

        monkeypatch.setattr(Source, "read", read_or_fail)

    return fail


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Unreachable("the service responds with 500"), "unreachable"),
        (Refused("the credentials do not allow it"), "refused"),
        (Missing("the object is missing"), "missing"),
    ],
)
@pytest.mark.parametrize("what", ["object", "key_name"])
def test_an_object_that_cannot_be_read_is_passed_over(
    customer: Customer,
    documents: list[Written],
    fail: Callable[..., None],
    error: SourceError,
    kind: str,
    what: str,
) -> None:
    fail(error, getattr(documents[0], what))
    ran = customer.recover("--json")
    assert ran.code == 1
    if kind == "unreachable" and what == "key_name":
        assert "SOURCE cannot be read: the service responds with 500" in ran.err
        assert not customer.dest.exists()
        return
    assert [problem["kind"] for problem in ran.events_of("problem")] == [kind]
    assert set(customer.files()) == {"b.txt"}


def test_a_source_that_goes_away_ends_the_run(
    customer: Customer, documents: list[Written], fail: Callable[..., None]
) -> None:
    fail(Unreachable("it is gone"), documents[0].object, documents[1].object, "strongroom.json")
    ran = customer.recover()
    assert ran.code == 1
    assert "SOURCE cannot be read any more: it is gone" in ran.err


def test_a_source_that_goes_away_before_a_plan_is_said(
    customer: Customer, documents: list[Written], fail: Callable[..., None]
) -> None:
    fail(Unreachable("it is gone"), documents[0].object, documents[1].object)
    ran = customer.look("--plan")
    assert ran.code == 1
    assert ran.err == "strongroom: SOURCE cannot be read: it is gone.\n"


def test_a_full_disk_ends_the_run_which_is_gone_on_with(
    customer: Customer, documents: list[Written], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        ran = customer.recover()
    assert ran.code == 1
    assert "No space left on device. Run the same command again" in ran.err
    assert customer.files() == {}
    assert customer.recover().code == 0
    assert len(customer.files()) == 2


def test_a_disk_that_will_be_full_is_noted(
    customer: Customer, documents: list[Written], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3))
    ran = customer.recover()
    assert ran.code == 0
    assert "10 bytes are to come" in ran.lines[0]


def test_a_file_that_cannot_be_read_is_said(
    customer: Customer, documents: list[Written], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    customer.dest.mkdir()
    (customer.dest / "a.txt").write_bytes(b"a.tx?")
    monkeypatch.setattr("hashlib.file_digest", broken)
    ran = customer.recover()
    assert ran.code == 1
    assert "a.txt cannot be read: Input/output error" in ran.err


def test_a_file_system_without_locks_is_good_enough(
    customer: Customer, documents: list[Written], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr("fcntl.flock", unsupported)
    assert customer.recover().code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_interrupts(
    customer: Customer, documents: list[Written], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    async def interrupt(*_: object) -> Read:
        signal.raise_signal(number)
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(Source, "read", interrupt)
    before = signal.getsignal(signal.SIGTERM)
    ran = customer.recover()
    assert ran.code == 130
    assert ran.err.startswith("strongroom: interrupted;")
    assert signal.getsignal(signal.SIGTERM) is before
