"""Two processes append to one audit log at once, on both profiles: one history.

``STRONGROOM_APPEND_SECONDS`` says for how long; by default it is short.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.crypto import merkle
from shared.crypto.checkpoints import parse_checkpoint
from shared.crypto.notes import parse_note
from tests.support.process import ROOT, environment
from tests.support.profiles import Embedded, Profile, azure

SECONDS = float(os.environ.get("STRONGROOM_APPEND_SECONDS", "3"))
PROCESSES = 2

pytestmark = pytest.mark.timeout(120 + 3 * SECONDS)


@contextmanager
def opened(name: str, data: Path) -> Iterator[Profile]:
    if name == "embedded":
        yield Embedded(data)
    else:
        with azure() as profile:
            yield profile


def start(profile: Profile, data: Path, *arguments: str) -> subprocess.Popen[str]:
    settings = profile.settings | {"data_dir": str(data)}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.audit_appender", *arguments],
        cwd=ROOT,
        env=environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(process: subprocess.Popen[str]) -> Any:
    """What a process said when it was done."""
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    return json.loads(output.splitlines()[-1])


@pytest.mark.parametrize("name", ["embedded", "azure"])
def test_two_processes_make_one_history(name: str, tmp_path: Path) -> None:
    with opened(name, tmp_path) as profile:
        tenant = told(start(profile, tmp_path, "make"))
        appending = [
            start(profile, tmp_path, "append", tenant, str(SECONDS)) for _ in range(PROCESSES)
        ]
        acknowledged = [set(told(process)) for process in appending]
        found = told(start(profile, tmp_path, "show", tenant))
    assert all(acknowledged), "both appended"
    entries = [entry.encode() for entry in found["entries"]]
    ids = [json.loads(entry)["id"] for entry in entries]
    assert len(ids) == len(set(ids)), "no entry twice"
    assert set.union(*acknowledged) <= set(ids), "no entry lost"
    roots: list[bytes] = [merkle.EMPTY_ROOT]
    frontier: tuple[bytes, ...] = ()
    for position, entry in enumerate(entries):
        frontier = merkle.append(frontier, position, merkle.leaf_hash(entry))
        roots.append(merkle.root(frontier))
    checkpoints = [
        parse_checkpoint(parse_note(note.encode()).text) for note in found["checkpoints"]
    ]
    assert len(checkpoints) > PROCESSES
    assert [one.root for one in checkpoints] == [roots[one.size] for one in checkpoints], "no fork"
    assert checkpoints[-1].size == len(entries)
