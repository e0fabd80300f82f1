"""The examples of ``docs/cli.md``, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store
from pyrage import x25519

from client.errors import ExitCode
from tests.support.audit_logs import build_log
from tests.support.cli import command_environment
from tests.support.contract.azure import machine
from tests.support.contract.targets import new_bucket, s3_server
from tests.support.fake_api import PASSWORD, FakeApi
from tests.support.process import ROOT
from tests.support.target_writer import TargetWriter, folder_writer, write_identity

PAGE = (ROOT / "docs" / "cli.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SERVER = "https://strongroom.example.com"
BUCKET = "acme-papers"
DOCUMENT = "doc_01kb0000000000000000000007"
RESTORE = "rst_01kb0000000000000000000001"


@pytest.fixture
def server() -> Iterator[FakeApi]:
    server = FakeApi().start()
    server.states.append({"state": "done"})
    yield server
    server.stop()


@pytest.fixture
def bucket() -> str:
    return new_bucket()


@pytest.fixture
def folder(tmp_path: Path, bucket: str) -> Path:
    """What the examples find: identities, targets, and the command."""
    holders = [x25519.Identity.generate() for _ in range(3)]
    write_identity(tmp_path / "key.txt", holders[0])
    for number, holder in enumerate(holders, start=1):
        write_identity(tmp_path / f"holder-{number}.txt", holder)
    TargetWriter(folder_writer(tmp_path / "shared"), holders, quorum=2).add("a.txt", b"a")
    store = S3Store(
        bucket,
        prefix="strongroom",
        endpoint=s3_server().url,
        access_key_id="any",
        secret_access_key="any",
        client_options={"root_certificate": machine().certificate.certificate.read_bytes()},
    )
    for put in (folder_writer(tmp_path / "target"), lambda *each: obstore.put(store, *each)):
        writer = TargetWriter(put, holders[:1])
        writer.add("contract.pdf", b"first", document=DOCUMENT)
        writer.add("contract.pdf", b"second", document=DOCUMENT, version=2)
        writer.add("notes.txt", b"notes")
    write_audit_log(tmp_path)
    command = tmp_path / "bin" / "strongroom"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m client "$@"\n')
    command.chmod(0o755)
    return tmp_path


def write_audit_log(folder: Path) -> None:
    """An export and a proof of an audit log, and an export of it when it had grown."""
    log, grown = build_log(300), build_log(500)
    files = {
        "log.vkey": f"{log.key.verifier}\n".encode(),
        "period.ndjson": b"".join(log.export(100, 300)),
        "next-period.ndjson": b"".join(grown.export(300, 450)),
        "kept.checkpoint": log.note().encode(),
        "entry.tlog-proof": log.proof(200, log.leaves[200]).encode(),
        "bare.tlog-proof": log.proof(200).encode(),
        "entry.json": log.leaves[200],
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)


@pytest.mark.timeout(300)
def test_the_examples_work(folder: Path, server: FakeApi, bucket: str) -> None:
    assert len(BLOCKS) >= 7
    server.restore(id=RESTORE, state="running")
    script = "\n".join(["set -euo pipefail", *BLOCKS])
    script = script.replace(SERVER, server.url).replace(BUCKET, bucket)
    ran = subprocess.run(
        ["bash", "-x", "-c", script],
        cwd=folder,
        env=command_environment(
            AWS_ENDPOINT_URL=s3_server().url, XDG_CONFIG_HOME=str(folder / "config")
        )
        | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"},
        input=PASSWORD + "\n",
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    expected = {
        "recovered": {"contract.pdf", "notes.txt"},
        "reports": {"contract.pdf"},
        "contract": {"contract.pdf"},
        "everything": {"contract.pdf", "contract (version 1).pdf", "notes.txt"},
        "recovered-together": {"a.txt"},
        "recovered-from-s3": {"contract.pdf", "notes.txt"},
    }
    for name, files in expected.items():
        found = {path.name for path in (folder / name).iterdir()} - {".strongroom"}
        assert found == files, name
    commands = re.findall(r"^strongroom ", script, re.MULTILINE)
    assert ran.stderr.count("+ strongroom ") == len(commands) > 20


def test_the_page_lists_the_exit_codes() -> None:
    codes = re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)
    assert [int(code) for code in codes] == list(ExitCode)


def test_the_page_lists_the_events() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "client").rglob("*.py"))
    emitted = set(
        re.findall(r'(?:\.emit|\.table|_print_members)\(\s*(?:\w+, )?"([a-z]+)"', sources)
    )
    listed = PAGE.partition("whose `event` says what it is:")[2].partition(". Errors")[0]
    assert emitted | {"backup", "report"} == set(re.findall(r"`([a-z]+)`", listed))
