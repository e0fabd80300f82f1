"""Starters for the emulators that npm brings: Azurite (blobs) and cosmosdb-server (Cosmos DB)."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.support.required import require

from .tls import Certificate

FOLDER = Path(__file__).parent
LISTENING = re.compile(r"listen(?:s|ing) (?:at|on) https://127\.0\.0\.1:(\d+)")
START_SECONDS = 60


def require_node() -> str:
    """The path of Node, with the packages of ``package-lock.json`` installed beside this file.

    Both must be there; see ``require``.
    """
    node, npm = shutil.which("node") or "", shutil.which("npm") or ""
    require(bool(node and npm), "the Azure emulators need Node.js and npm, which are not installed")
    installed = FOLDER / "node_modules" / ".package-lock.json"
    lock = FOLDER / "package-lock.json"
    # Test processes that start together must not install into one folder at once.
    with lock.open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            subprocess.run(
                [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=FOLDER,
                check=True,
                stdout=subprocess.DEVNULL,
                timeout=600,
            )
            installed.touch()
    return node


@contextmanager
def azurite(certificate: Certificate, folder: Path) -> Iterator[int]:
    """Azurite's blob service over HTTPS, with shared keys and with tokens; yields its port."""
    command = [
        str(FOLDER / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"),
        "--blobHost=127.0.0.1",
        "--blobPort=0",
        f"--location={folder}",
        f"--cert={certificate.certificate}",
        f"--key={certificate.key}",
        "--oauth=basic",
        "--skipApiVersionCheck",
        "--disableTelemetry",
        "--silent",
    ]
    with _running(command) as port:
        yield port


@contextmanager
def cosmosdb(certificate: Certificate) -> Iterator[int]:
    """The Cosmos DB emulator over HTTPS, in memory; yields its port."""
    command = [str(FOLDER / "cosmosdb.js"), str(certificate.certificate), str(certificate.key)]
    with _running(command) as port:
        yield port


@contextmanager
def _running(command: list[str]) -> Iterator[int]:
    process = subprocess.Popen(
        [require_node(), *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    watchdog = threading.Timer(START_SECONDS, process.kill)
    # A pipe that nobody empties would stop the emulator once it is full.
    drain = threading.Thread(target=process.stdout.read, daemon=True)
    watchdog.start()
    try:
        port = _port(process.stdout)
        watchdog.cancel()
        drain.start()
        yield port
    finally:
        watchdog.cancel()
        process.terminate()
        process.wait(timeout=20)
        if drain.ident is not None:
            drain.join(timeout=5)
        process.stdout.close()


def _port(output: IO[str]) -> int:
    printed = []
    for line in output:
        printed.append(line)
        found = LISTENING.search(line)
        if found:
            return int(found.group(1))
    raise RuntimeError("The emulator did not start:\n" + "".join(printed))
