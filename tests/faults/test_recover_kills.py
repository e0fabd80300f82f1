"""``strongroom recover`` is killed at random moments, again and again.

Whatever has a final name is whole, and the run that is not killed ends right.

``STRONGROOM_FAULT_KILLS`` says how often to kill it, ``STRONGROOM_FAULT_SEED`` repeats a run's decisions.
"""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyrage import x25519

from shared.crypto.streaming import SEGMENT_SIZE
from tests.support.cli import COMMAND, command_environment, strongroom
from tests.support.target_writer import TargetWriter, folder_writer, write_identity

KILLS = int(os.environ.get("STRONGROOM_FAULT_KILLS", "5"))
SEED = int(os.environ.get("STRONGROOM_FAULT_SEED") or secrets.randbelow(1_000_000))
SMALL_DOCUMENTS = 40
LARGE_DOCUMENTS = 6


def write_documents(folder: Path, identity: x25519.Identity) -> dict[str, bytes]:
    """A target with documents; their contents by name."""
    writer = TargetWriter(folder_writer(folder), [identity])
    chance = random.Random("documents")
    sizes = [1_000 + number for number in range(SMALL_DOCUMENTS)]
    sizes += [(3 + number) * SEGMENT_SIZE for number in range(LARGE_DOCUMENTS)]
    contents = {f"{number}.bin": chance.randbytes(size) for number, size in enumerate(sizes)}
    for name, content in contents.items():
        writer.add(name, content)
    return contents


def finished(dest: Path) -> dict[str, tuple[bytes, int]]:
    """The content and the inode of everything with a final name."""
    return {path.name: (path.read_bytes(), path.stat().st_ino) for path in dest.glob("*.bin")}


@pytest.mark.timeout(60 + 10 * KILLS)
def test_a_recovery_that_is_killed_again_and_again_ends_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = x25519.Identity.generate()
    contents = write_documents(tmp_path / "target", identity)
    key = write_identity(tmp_path / "key.txt", identity)
    chance = random.Random(SEED)
    arguments = ("recover", "--identity", key, tmp_path / "target")
    started = time.monotonic()
    assert strongroom(*arguments, tmp_path / "undisturbed").code == 0
    longest = time.monotonic() - started

    dest = tmp_path / "dest"
    before: dict[str, tuple[bytes, int]] = {}
    killed = 0
    while killed < KILLS:
        process = subprocess.Popen(
            [*COMMAND, *map(str, (*arguments, dest))],
            env=command_environment(),
            stdout=subprocess.DEVNULL,
        )
        try:
            # A random moment is what this test is about.
            ended = process.wait(chance.uniform(0, longest))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
            ended = None
        found = finished(dest)
        assert all(contents[name] == content for name, (content, _) in found.items()), SEED
        assert before.items() <= found.items(), SEED  # what was finished is not touched again
        before = found
        if ended is not None:
            assert (ended, len(found)) == (0, len(contents)), SEED
            # It was not killed: from now on, more has to be done.
            for name in chance.sample(sorted(contents), len(contents) // 2):
                (dest / name).unlink()
                del before[name]
    ran = strongroom(*arguments, dest)
    assert ran.code == 0, SEED
    assert {name: content for name, (content, _) in finished(dest).items()} == contents, SEED
    assert list((dest / ".strongroom/partial").iterdir()) == [], SEED
    with capsys.disabled():
        sys.stdout.write(f"\nrecovered after {killed} kills, seed {SEED}\n")
