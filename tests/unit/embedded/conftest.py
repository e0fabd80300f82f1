"""SQLite as the tests of the embedded databases want it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def connect_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[sqlite3.Connection]], None]:
    """Makes every connection from now on one of a class."""
    connect = sqlite3.connect

    def install(factory: type[sqlite3.Connection]) -> None:
        def connect_so(*arguments: Any, **options: Any) -> sqlite3.Connection:
            return connect(*arguments, factory=factory, **options)

        monkeypatch.setattr(sqlite3, "connect", connect_so)

    return install


class _Forgetful(sqlite3.Connection):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.execute("PRAGMA secure_delete=OFF")


@pytest.fixture
def forgetful(connect_with: Callable[[type[sqlite3.Connection]], None]) -> None:
    """SQLite as one compiles it that does not overwrite by itself what is removed."""
    connect_with(_Forgetful)
