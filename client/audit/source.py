"""Where evidence comes from: a file, or a log's URL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography.x509 import Certificate

from client.api import Api
from client.audit.evidence import Evidence
from client.audit.export import Export, read_lines
from client.audit.inclusion import InclusionProof
from client.audit.log import Log
from client.errors import CommandError, ExitCode
from client.session import SessionStore, check_server
from shared.crypto.log_proofs import HEADER

_SCHEMES: Final = ("http", "https")


@contextmanager
def open_evidence(
    source: str, entry: Path | None, roots: tuple[Certificate, ...] = ()
) -> Iterator[Evidence]:
    """Open what the user named, for as long as it is read.

    Args:
        source: A path, or a URL.
        entry: The file with the entry that a ``.tlog-proof`` file is about, if it is not in it.
        roots: Certificates of a time stamp authority, to verify the time stamp of a log as well.

    Raises:
        CommandError: It cannot be read, or has no time stamp.
        NotProved: Its beginning is malformed.
    """
    if urlsplit(source).scheme in _SCHEMES:
        url = check_server(source)
        with Api(_server(url), _token(url)) as api:
            yield Log(lambda path: api.get_bytes(f"{url}/{path}"), roots)
        return
    if roots:
        raise CommandError(
            "Only a log's URL has a time stamp: leave --timestamp-root out, or verify the URL.",
            ExitCode.USAGE,
        )
    try:
        with open(source, "rb") as file:
            is_proof = file.read(len(HEADER)) == HEADER.encode()
            file.seek(0)
            if not is_proof:
                yield Export(read_lines(file))
                return
            data = file.read()
        yield InclusionProof(data, None if entry is None else entry.read_bytes())
    except OSError as error:
        raise CommandError(
            f"{error.filename or source} cannot be read: {error.strerror}.", ExitCode.USAGE
        ) from None


def _server(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _token(url: str) -> str | None:
    """The token of the user's sign-in, where it is one at the server of the URL."""
    try:
        session = SessionStore(os.environ).current(datetime.now(UTC))
    except CommandError:
        return None
    return session.token if url.startswith(f"{session.server}/") else None
