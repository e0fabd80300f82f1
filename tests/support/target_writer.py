"""Writes a target as ``docs/formats.md`` has it, with stock age and stock Tink alone."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyrage import encrypt, x25519

from shared.crypto.shares import split
from tests.support.stock_tink import stock_tink

CREATED_AT = "2026-11-26T10:00:00Z"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sealed_by_tink(data_key: bytes, associated_data: str, content: bytes) -> bytes:
    sealed = io.BytesIO()
    # Tink closes what it writes to.
    sealed.close = lambda: None  # type: ignore[method-assign]
    with stock_tink(data_key).new_encrypting_stream(sealed, associated_data.encode()) as stream:
        stream.write(content)
    return sealed.getvalue()


@dataclass(frozen=True)
class Written:
    """A version as it was written."""

    document: str
    version: int
    tag: str
    content: bytes
    key_file: dict[str, Any]

    @property
    def object(self) -> str:
        return f"content/{self.document}/{self.version}.{self.tag}"

    @property
    def key_name(self) -> str:
        return f"keys/{self.document}/{self.version}.{self.tag}.age"


@dataclass
class TargetWriter:
    """Writes a target.

    Attributes:
        put: Takes an object's name and its bytes.
        identities: The holders', or those who open it alone.
        quorum: How many of them it takes.
    """

    put: Callable[[str, bytes], object]
    identities: Sequence[x25519.Identity]
    quorum: int = 1
    recipients: list[x25519.Recipient] = field(init=False)

    def __post_init__(self) -> None:
        info: dict[str, Any] = {
            "format": "strongroom-target/1",
            "environment": "test",
            "tenant": "ten_1",
            "quorum": self.quorum,
            "holders": len(self.identities),
            "segment_size": 1_048_576,
            "of a later release": True,
        }
        holders = [each.to_public() for each in self.identities]
        if self.quorum == 1:
            self.recipients = holders
            info["recipients"] = [str(each) for each in holders]
        else:
            shared = x25519.Identity.generate()
            self.recipients = [shared.to_public()]
            info["recipient"] = str(shared.to_public())
            shares = split(str(shared).encode(), self.quorum, len(holders), os.urandom)
            for holder, share in zip(holders, shares, strict=True):
                text = {
                    "index": share.index,
                    "threshold": self.quorum,
                    "share": base64url(share.value),
                }
                self.put(f"holders/{share.index}.age", encrypt(json.dumps(text).encode(), [holder]))
        self.put("strongroom.json", json.dumps(info).encode())

    def add(
        self,
        name: str,
        content: bytes,
        *,
        document: str | None = None,
        version: int = 1,
        tag: str | None = None,
        created_at: str = CREATED_AT,
        **changed: Any,
    ) -> Written:
        """Write a version; ``changed`` are members of its key file that say something else."""
        document = document or f"doc_{hashlib.sha256(name.encode()).hexdigest()[:12]}"
        tag = tag or hashlib.sha256(content).hexdigest()[:16]
        bound_to = f"strongroom/content/1/test/ten_1/{document}/{version}"
        data_key = os.urandom(32)
        sealed = sealed_by_tink(data_key, bound_to, content)
        key_file = {
            "document": document,
            "version": version,
            "tag": tag,
            "name": name,
            "media_type": "application/octet-stream",
            "metadata": {"case": "12/2026"},
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "sealed_size": len(sealed),
            "sealed_sha256": hashlib.sha256(sealed).hexdigest(),
            "created_at": created_at,
            "object": f"content/{document}/{version}.{tag}",
            "data_key": base64url(data_key),
            "associated_data": bound_to,
            "of a later release": 1,
        } | changed
        written = Written(document, version, tag, content, key_file)
        self.put(written.object, sealed)
        self.put(written.key_name, self.encrypt(json.dumps(key_file).encode()))
        return written

    def encrypt(self, plaintext: bytes) -> bytes:
        return bytes(encrypt(plaintext, self.recipients))


def folder_writer(folder: Path) -> Callable[[str, bytes], object]:
    """Puts objects into a folder."""

    def put(name: str, data: bytes) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return put


def write_identity(path: Path, *identities: x25519.Identity) -> Path:
    """An identity file as ``age-keygen`` writes it."""
    lines = [
        line
        for each in identities
        for line in (
            "# created: 2026-11-26T10:00:00Z",
            f"# public key: {each.to_public()}",
            str(each),
        )
    ]
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)
    return path
