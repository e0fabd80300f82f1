"""What every adapter refuses, whatever stands behind it: the limits that the ports set."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

from shared.base.partitions import Partition
from shared.ports.blobs import MAX_NAME, NAME_SEGMENT, is_blob_name
from shared.ports.keys import DIGEST_BYTES, MAX_PLAINTEXT_BYTES
from shared.ports.records import MAX_CHANGES, MAX_RECORD_BYTES, Change, Delete, Record

_BLOB_PREFIX: Final = re.compile(rf"(?:{NAME_SEGMENT}/)*(?:{NAME_SEGMENT})?")
_KEY_NAME: Final = re.compile(r"[a-z0-9-]{1,127}")
_SLUG: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_MAX_SLUG: Final = 64


def check_blob_name(name: str) -> None:
    """Refuse what is not an object's name.

    Raises:
        ValueError: It is not.
    """
    if not is_blob_name(name):
        raise ValueError(
            "An object's name must be segments of a-z, 0-9, '.', '_' and '-', joined by '/', each"
            f" of 200 characters at most and not starting with '.'; {MAX_NAME} in all."
        )


def check_blob_prefix(prefix: str) -> None:
    """Refuse what no object's name can begin with.

    Raises:
        ValueError: It is not a prefix.
    """
    if len(prefix) > MAX_NAME or _BLOB_PREFIX.fullmatch(prefix) is None:
        raise ValueError("A prefix must be the beginning of an object's name.")


def check_range(start: int, end: int | None) -> None:
    """Refuse what is not a range of bytes.

    Raises:
        ValueError: It starts before 0, or ends before it starts.
    """
    if start < 0 or (end is not None and end < start):
        raise ValueError("A range must start at 0 or later and not end before it starts.")


def check_key_name(name: str) -> None:
    """Refuse what is not a key's name, ``shared.ports.keys.KeyVault``.

    Raises:
        ValueError: It is not.
    """
    if _KEY_NAME.fullmatch(name) is None:
        raise ValueError("A key's name must be 1 to 127 of a-z, 0-9 and '-'.")


def check_plaintext(plaintext: bytes) -> None:
    """Refuse what is too long to be wrapped.

    Raises:
        ValueError: It is.
    """
    if len(plaintext) > MAX_PLAINTEXT_BYTES:
        raise ValueError(f"At most {MAX_PLAINTEXT_BYTES} bytes can be wrapped.")


def check_digest(digest: bytes) -> None:
    """Refuse what is not a SHA-256 digest.

    Raises:
        ValueError: It is not.
    """
    if len(digest) != DIGEST_BYTES:
        raise ValueError(f"A SHA-256 digest has {DIGEST_BYTES} bytes.")


def check_reason(reason: str) -> None:
    """Refuse a dead letter's reason that is not a slug.

    Raises:
        ValueError: It is not.
    """
    if len(reason) > _MAX_SLUG or _SLUG.fullmatch(reason) is None:
        raise ValueError("A reason must be a slug: words of a-z and 0-9 joined by '-'.")


def check_limit(limit: int, most: int) -> None:
    """Refuse a page size that is not within 1 to ``most``.

    Raises:
        ValueError: It is not.
    """
    if not 1 <= limit <= most:
        raise ValueError(f"The limit must be 1 to {most}.")


def check_changes(partition: Partition, changes: Sequence[Change]) -> None:
    """Refuse what cannot be one commit, ``shared.ports.records.RecordStore.commit``.

    Raises:
        ValueError: No changes, too many, one of another partition, or two of one record.
    """
    if not 1 <= len(changes) <= MAX_CHANGES:
        raise ValueError(f"A commit must hold 1 to {MAX_CHANGES} changes.")
    named = set()
    for change in changes:
        if isinstance(change, Delete):
            named.add((change.kind, change.id))
            continue
        if change.record.partition != partition:
            raise ValueError("Every change of a commit must be in the commit's partition.")
        named.add((change.record.kind, change.record.id))
    if len(named) != len(changes):
        raise ValueError("A commit must name each record once.")


_JSON: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def record_body(record: Record) -> bytes:
    """The record's body as compact JSON in UTF-8.

    Raises:
        ValueError: It is no JSON, or larger than ``MAX_RECORD_BYTES``.
    """
    try:
        body = _JSON.encode(record.body).encode()
    except (TypeError, ValueError) as error:
        raise ValueError("A record's body must be JSON.") from error
    if len(body) > MAX_RECORD_BYTES:
        raise ValueError(f"A record's body must be {MAX_RECORD_BYTES} bytes of JSON at most.")
    return body
