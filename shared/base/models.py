"""What the models of every room share: immutable, strict, bytes as base64 in JSON."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer

JsonObject = dict[str, Any]

TAG_DIGITS: Final = 32
"""Hexadecimal digits of an entity tag."""


def encode(data: bytes) -> str:
    """Bytes as unpadded base64url (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """The reverse of ``encode``.

    Raises:
        ValueError: The text is not base64url.
    """
    raw = text.encode("ascii")
    return base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)


def _from_json(value: object) -> object:
    return decode(value) if isinstance(value, str) else value


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time needs an offset")
    return value.astimezone(UTC)


Base64UrlBytes = Annotated[
    bytes, BeforeValidator(_from_json), PlainSerializer(encode, return_type=str, when_used="json")
]
"""Bytes that are base64url in JSON."""

UtcDatetime = Annotated[datetime, AfterValidator(_utc)]
"""An aware time, kept in UTC."""


class Model(BaseModel):
    """The base of what is kept in records."""

    # Built when first used: a process uses few of them, and building all of them is felt at its start.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class TaggedModel(Model):
    """What clients change under an entity tag."""

    @property
    def tag(self) -> str:
        """The entity tag: equal values have the same one."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:TAG_DIGITS]
