"""The sign-in that the command keeps."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from client.errors import CommandError
from client.session import Session, SessionStore, check_server

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SERVER = "https://strongroom.example.com"
SESSION = Session(SERVER, "token", (NOW + timedelta(hours=2)).isoformat())


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


def test_it_is_kept_for_its_owner_alone(tmp_path: Path, environment: dict[str, str]) -> None:
    store = SessionStore(environment)
    store.save(SESSION)
    store.save(SESSION)
    assert SessionStore(environment).current(NOW) == SESSION
    [file] = (tmp_path / "config/strongroom").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_it_is_forgotten(environment: dict[str, str]) -> None:
    store = SessionStore(environment)
    store.save(SESSION)
    assert store.forget()
    assert not store.forget()
    with pytest.raises(CommandError, match="sign in first"):
        store.current(NOW)


def test_a_relative_configuration_folder_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    SessionStore({"XDG_CONFIG_HOME": "config"}).save(SESSION)
    assert (tmp_path / ".config/strongroom/session.json").exists()


def test_it_expires(environment: dict[str, str]) -> None:
    store = SessionStore(environment)
    store.save(SESSION)
    with pytest.raises(CommandError, match="expired"):
        store.current(NOW + timedelta(hours=2))


def test_the_environment_comes_first(environment: dict[str, str]) -> None:
    SessionStore(environment).save(SESSION)
    other = environment | {"STRONGROOM_TOKEN": "other"}
    assert SessionStore(other).current(NOW).token == "other"
    assert SessionStore(other).current(NOW).server == SERVER
    both = other | {"STRONGROOM_SERVER": "https://other.example.com/"}
    assert SessionStore(both).current(NOW).server == "https://other.example.com"


def test_the_token_of_one_server_is_not_sent_to_another(environment: dict[str, str]) -> None:
    SessionStore(environment).save(SESSION)
    elsewhere = environment | {"STRONGROOM_SERVER": "https://other.example.com"}
    with pytest.raises(CommandError, match="sign in first"):
        SessionStore(elsewhere).current(NOW)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"server": 1}', '{"server":"a","token":"b"}'])
def test_a_file_that_is_something_else_is_no_sign_in(
    tmp_path: Path, environment: dict[str, str], text: str
) -> None:
    SessionStore(environment).save(SESSION)
    (tmp_path / "config/strongroom/session.json").write_text(text)
    with pytest.raises(CommandError, match="sign in first"):
        SessionStore(environment).current(NOW)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a file")
    store = SessionStore({"XDG_CONFIG_HOME": str(tmp_path / "config")})
    with pytest.raises(CommandError, match="cannot be kept"):
        store.save(SESSION)


def test_a_token_is_not_in_what_is_printed() -> None:
    assert "token" not in repr(Session(SERVER, "token", "")).replace("expires_at", "")


@pytest.mark.parametrize(
    "url",
    ["https://a.example.com/", "http://127.0.0.1:7071", "http://localhost", "http://[::1]:80"],
)
def test_servers_that_keep_tokens_secret(url: str) -> None:
    assert check_server(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example.com",
        "http://10.0.0.1",
        "a.example.com",
        "ftp://a",
        "https://",
        "https://a/?b",
    ],
)
def test_servers_that_do_not(url: str) -> None:
    with pytest.raises(CommandError):
        check_server(url)
