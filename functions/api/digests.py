"""Digests that clients state of what they send (RFC 9530, and those that came before it)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers

from shared.base.errors import DigestMismatch, InvalidInput

WANTED: Final = "sha-256=10, sha-512=5"
"""As ``Want-Repr-Digest`` (RFC 9530 section 4): the algorithms that we check, by preference."""

_SIZES: Final = {"sha-256": ("sha256", 32), "sha-512": ("sha512", 64)}
"""What ``hashlib`` calls an algorithm, and the bytes of its digests."""

_MEMBER: Final = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):")
"""A member of a dictionary of byte sequences (RFC 9651); digests have no parameters."""

_UNCHECKED: Final = (
    *("digest", "oc-checksum", "upload-checksum", "x-amz-content-sha256", "x-goog-hash"),
    *("x-ms-blob-content-md5", "x-ms-content-crc64"),
)
_UNCHECKED_PREFIXES: Final = ("x-amz-checksum-", "x-checksum-")


class DigestRefused(InvalidInput):
    """A digest is stated in a way in which it cannot be checked; the response says what can be."""


Digests = Mapping[str, bytes]
"""What a client says that the digests of its content are, by the names that ``hashlib`` has for them."""


def repr_digest(value: str | None, name: str = "header.Repr-Digest") -> Digests:
    """Parse a ``Repr-Digest`` or a ``Content-Digest`` (RFC 9530 sections 2 and 3).

    Of an algorithm that is named twice the last digest counts (RFC 9651 section 4.2.2).

    Args:
        value: Of the header; None: there is none.
        name: The field, as errors name it.

    Raises:
        DigestRefused: It is malformed, or of no algorithm that we know.
    """
    if value is None:
        return {}
    members = [_MEMBER.fullmatch(member.strip(" \t")) for member in value.split(",")]
    last = {member[1]: member[2] for member in members if member}
    found: dict[str, bytes] = {}
    for algorithm, encoded in last.items():
        if algorithm in _SIZES:
            known, size = _SIZES[algorithm]
            found[known] = _decoded(encoded, size, name)
    if not found or not all(members):
        raise _refusal(name)
    return found


def stated_digests(headers: Headers) -> Digests:
    """Return all digests that the headers of a request state.

    Raises:
        DigestRefused: One of them is malformed, contradicts another, or cannot be checked.
    """
    for name in headers:
        if name in _UNCHECKED or name.startswith(_UNCHECKED_PREFIXES):
            raise _refusal(f"header.{name.title()}")
    found: dict[str, bytes] = {}
    for name in ("Repr-Digest", "Content-Digest"):
        digests = repr_digest(headers.get(name), f"header.{name}")
        for algorithm, digest in digests.items():
            if found.setdefault(algorithm, digest) != digest:
                raise DigestRefused.in_fields(
                    {f"header.{name}": "Repr-Digest and Content-Digest differ; send one of them."}
                )
    md5 = headers.get("Content-MD5")
    if md5 is not None:
        found["md5"] = _decoded(md5.strip(), 16, "header.Content-MD5")
    return found


def check_body(body: bytes, headers: Headers) -> None:
    """Refuse a body that is not what its headers say.

    Raises:
        DigestMismatch: A digest differs.
        DigestRefused: A digest cannot be checked.
    """
    for algorithm, digest in stated_digests(headers).items():
        # MD5 finds accidents on the way; nothing rests on it.
        if hashlib.new(algorithm, body, usedforsecurity=False).digest() != digest:
            raise DigestMismatch("The body differs from the digest sent with it; send it again.")


def _decoded(encoded: str, size: int, name: str) -> bytes:
    try:
        digest = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != size:
        raise _refusal(name)
    return digest


def _refusal(name: str) -> DigestRefused:
    place, _, said = name.partition(".")
    wanted = said if place == "body" else "Repr-Digest"
    return DigestRefused.in_fields(
        {
            name: f"{said} cannot be checked; send sha-256=:BASE64:, or sha-512, of the content as"
            f" {wanted} (RFC 9530)."
        }
    )
