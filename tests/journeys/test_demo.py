"""The demo, with files that try it, and however it ends."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import ROOT, environment, wait_until

PAPER = random.Random("paper").randbytes(300_000)
INTERRUPTED = 130


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "Überschuß & Verlust 2026 決算.pdf".encode(),
            PAPER + bytes(500_000),
        ),  # zeros, as in databases
        (b"document", b"document.create"),  # words that the server writes itself
        (b"[bold] not [/text] \xff\x1b[31m".replace(b"/", b"").ljust(255, b"n"), b"x"),
    ],
    ids=["unicode and zeros", "our own words", "not text and as long as a disk takes"],
)
def test_the_demo_keeps_its_promises_and_leaves_nothing(
    name: bytes, content: bytes, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    file = tmp_path / os.fsdecode(name)
    file.write_bytes(content)
    # In a narrow terminal, and with a setting for a server of one's own, which is not for the demo's.
    demo = run_demo(file, scratch, STRONGROOM_PROFILE="azure", COLUMNS="40")
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stdout.splitlines()[-1] == "demo: ok"
    readable = "".join(each if each.isprintable() else "_" for each in file.name)
    assert readable[:150] in demo.stdout
    assert demo.stderr == ""
    assert "document.replicate" in demo.stdout
    assert list(scratch.iterdir()) == []
    assert not processes_with(str(scratch))


def test_the_demo_refuses_a_file_that_it_cannot_use(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, reason in {
        "missing": "cannot read",
        "empty": "is empty",
        "pipe": "it is not a file",
        ".": "it is not a file",
    }.items():
        refused = run_demo(tmp_path / name, tmp_path)
        assert (refused.returncode, refused.stdout) == (2, "")
        [line] = refused.stderr.splitlines()
        assert line.startswith("demo: ")
        assert reason in line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("reached", ["Start the server", "Upload the file"])
def test_an_interrupted_demo_leaves_nothing(number: int, reached: str, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    output = tmp_path / "output"
    with (
        output.open("wb") as stdout,
        subprocess.Popen(
            command(Path(__file__)),
            cwd=ROOT,
            env=demo_environment(scratch),
            stdout=stdout,
            stderr=stdout,
        ) as demo,
    ):
        if reached == "Start the server":
            wait_until(lambda: list(scratch.glob("*/data")), "the server to begin")
        else:
            wait_until(lambda: reached in output.read_text("utf-8"), "the stage to be over")
        demo.send_signal(number)
        demo.send_signal(number)  # somebody who is impatient
        assert demo.wait(60) == INTERRUPTED
    assert output.read_text("utf-8").splitlines()[-1].startswith("demo: interrupted")
    assert list(scratch.iterdir()) == []
    assert not processes_with(str(scratch))


def test_make_hands_over_any_file_name(tmp_path: Path) -> None:
    name = """it's "quoted" `touch pwned` $(touch pwned) $HOME; touch pwned"""
    installed = tmp_path / "installed"  # newer than the pins, or make would install them anew
    installed.touch()
    shown = subprocess.run(
        [
            "make",
            "--no-print-directory",
            "demo",
            f"FILE={tmp_path / name}",
            "PY=echo",
            f"INSTALLED={installed}",
        ],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert shown.stdout == f"-m standalone.demo {tmp_path / name}\n"


def command(file: Path) -> list[str]:
    return [sys.executable, "-m", "standalone.demo", str(file)]


def demo_environment(scratch: Path, **others: str) -> dict[str, str]:
    return environment() | {"TMPDIR": str(scratch), "PYTHONIOENCODING": "utf-8"} | others


def run_demo(file: Path, scratch: Path, **others: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(file),
        cwd=ROOT,
        env=demo_environment(scratch, **others),
        capture_output=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )


def processes_with(argument: str) -> list[str]:
    """The commands of running processes that have something in their arguments."""
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (
                (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
        except OSError:
            continue
        if argument in command and process.name != str(os.getpid()):
            commands.append(command)
    return commands
