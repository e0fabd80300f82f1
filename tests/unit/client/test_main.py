"""The process of the command: how it ends."""

from __future__ import annotations

import os
import sys

import pytest

from client import main as command
from client.errors import CommandError, ExitCode


class EndedError(Exception):
    """The process ended."""


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    ended: list[int] = []

    def end(code: int) -> None:
        ended.append(code)
        raise EndedError

    monkeypatch.setattr(os, "_exit", end)
    return ended


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--help"], ExitCode.DONE), (["no-such-command"], ExitCode.USAGE)]
)
def test_it_ends_with_the_code_of_the_command(
    arguments: list[str], code: ExitCode, codes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["strongroom", *arguments])
    with pytest.raises(EndedError):
        command.main()
    assert codes == [code]


def test_a_refusal_is_one_line(
    codes: list[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**_: object) -> None:
        raise CommandError("no such thing", ExitCode.INTERRUPTED)

    monkeypatch.setattr(command, "app", refuse)
    with pytest.raises(EndedError):
        command.main()
    assert codes == [ExitCode.INTERRUPTED]
    assert "no such thing" in capsys.readouterr().err


def test_a_defect_is_told_and_is_no_success(
    codes: list[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(command, "app", fail)
    with pytest.raises(EndedError):
        command.main()
    assert codes == [ExitCode.INCOMPLETE]
    assert "RuntimeError: a defect" in capsys.readouterr().err
