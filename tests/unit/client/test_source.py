"""What the command says when a target cannot be read: the cause, and nothing that obstore quotes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import GenericError, PermissionDeniedError, UnauthenticatedError

from client.errors import CommandError
from client.recover.source import Missing, Read, Refused, Unreachable, open_source

SIGNED = "https://acme.blob.core.windows.net/papers/x?sv=1&sig=c2VjcmV0"


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(obstore, "get_async", fail)


def read(folder: Path, name: str = "x", start: int = 0, end: int = 10) -> Read:
    return asyncio.run(open_source(str(folder), None).read(name, start, end))


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("dns error: failed to lookup", "cannot be resolved"),
        ("code: 111, kind: ConnectionRefused", "refuses the connection"),
        ("invalid peer certificate: UnknownIssuer", "certificate is not trusted"),
        ("source: TimedOut", "does not respond in time"),
        ("PUT http://169.254.169.254/latest/api/token", "no credentials"),
        ("status code: 503 Service Unavailable: <Code>SlowDown</Code>", "with 503 SlowDown"),
        ("<Code>NoSuchBucket</Code>", "no such bucket"),
        ("Received redirect without LOCATION", "another region"),
        ("something new", "does not respond as it should"),
    ],
)
def test_the_cause_is_said_without_what_was_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str, said: str
) -> None:
    failing(monkeypatch, GenericError(f"Error performing GET {SIGNED}: {message}"))
    with pytest.raises(Unreachable) as raised:
        read(tmp_path)
    assert said in str(raised.value)
    assert "c2VjcmV0" not in str(raised.value)


@pytest.mark.parametrize(
    "error", [PermissionDeniedError(SIGNED), UnauthenticatedError(SIGNED), PermissionError(SIGNED)]
)
def test_what_credentials_do_not_allow_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    failing(monkeypatch, error)
    with pytest.raises(Refused, match="the credentials do not allow it"):
        read(tmp_path)


def test_ranges_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert read(tmp_path, end=2) == Read(b"ab", 3)
    assert read(tmp_path) == Read(b"abc", 3)
    assert read(tmp_path, start=5) == Read(b"", 5)
    with pytest.raises(Missing):
        read(tmp_path, "y")


def test_an_endpoint_that_is_no_url_is_said() -> None:
    with pytest.raises(CommandError, match="endpoint is a URL"):
        open_source("gs://papers", "minio.example.com")


def test_settings_that_cannot_be_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", "secret")
    with pytest.raises(CommandError, match="SOURCE cannot be opened") as raised:
        open_source("gs://papers", None)
    assert "secret" not in raised.value.message
