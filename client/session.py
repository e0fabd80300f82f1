"""The sign-in of this user: kept in their configuration folder, readable by nobody else."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from client.errors import CommandError, ExitCode

SERVER_VARIABLE: Final = "STRONGROOM_SERVER"
TOKEN_VARIABLE: Final = "STRONGROOM_TOKEN"

_SIGN_IN: Final = "sign in first: strongroom sign-in --server URL --tenant SLUG --username NAME"
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Session:
    """A sign-in.

    Attributes:
        server: The base URL of the server.
        token: Never printed.
        expires_at: ISO 8601.
    """

    server: str
    token: str = field(repr=False)
    expires_at: str


def check_server(url: str) -> str:
    """The base URL of a server, without a slash at the end.

    Raises:
        CommandError: It is not a URL, or would carry passwords and tokens unencrypted.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise CommandError(f"{url} is not the URL of a server.", ExitCode.USAGE)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise CommandError("Use https: http would show your token to others.", ExitCode.USAGE)
    return url.rstrip("/")


def configuration_folder(environment: Mapping[str, str]) -> Path:
    """Where the command keeps what is this user's alone.

    Args:
        environment: Environment variables.
    """
    config = environment.get("XDG_CONFIG_HOME") or ""
    # The XDG specification: what is not an absolute path is to be ignored.
    base = Path(config) if Path(config).is_absolute() else Path.home() / ".config"
    return base / "strongroom"


class SessionStore:
    """Keeps the sign-in.

    Args:
        environment: Environment variables.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._file = configuration_folder(environment) / "session.json"

    def save(self, session: Session) -> None:
        """Keep a sign-in in place of the one before.

        Raises:
            CommandError: The folder cannot be written.
        """
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, temporary = tempfile.mkstemp(dir=self._file.parent)  # with mode 0600
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(session), file)
            Path(temporary).replace(self._file)
        except OSError as error:
            raise CommandError(
                f"The sign-in cannot be kept in {self._file.parent}: {error.strerror}."
            ) from None

    def forget(self) -> bool:
        """Remove the sign-in; whether there was one."""
        try:
            self._file.unlink()
        except FileNotFoundError:
            return False
        return True

    def current(self, now: datetime) -> Session:
        """The sign-in to use; the environment variables come first.

        Raises:
            CommandError: There is none, or it has expired.
        """
        server = self._environment.get(SERVER_VARIABLE)
        token = self._environment.get(TOKEN_VARIABLE)
        kept = self._load()
        server = check_server(server) if server else kept.server if kept else None
        if server is None:
            raise CommandError(_SIGN_IN)
        if token:
            return Session(server, token, "")
        # The token of one server is nothing for another one to see.
        if kept is None or kept.server != server:
            raise CommandError(_SIGN_IN)
        if datetime.fromisoformat(kept.expires_at) <= now:
            raise CommandError(f"the sign-in has expired; {_SIGN_IN}")
        return kept

    def _load(self) -> Session | None:
        try:
            raw = json.loads(self._file.read_bytes())
            session = Session(raw["server"], raw["token"], raw["expires_at"])
            if datetime.fromisoformat(session.expires_at).tzinfo is None:
                raise ValueError
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return session
