"""The JSON in a target: ``strongroom.json``, key files and the shares of holders."""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.base.models import Base64UrlBytes, UtcDatetime
from shared.crypto.keys import KEY_SIZE
from shared.crypto.streaming import sealed_size

TARGET_FORMAT: Final = "strongroom-target/1"
TARGET_FILE: Final = "strongroom.json"
KEYS_FOLDER: Final = "keys/"
CONTENT_FOLDER: Final = "content/"
HOLDERS_FOLDER: Final = "holders/"

MAX_FILE_SIZE: Final = 1_048_576
"""No JSON of a target comes near to this, bytes."""

KEY_FILE_SUFFIX: Final = ".age"

Part = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Malformed(ValueError):
    """JSON of a target is not as the format has it."""


class _FromTarget(BaseModel):
    """Members that are not known are ignored, as the format asks."""

    model_config = ConfigDict(frozen=True, extra="ignore")


M = TypeVar("M", bound=_FromTarget)


class TargetInfo(_FromTarget):
    """``strongroom.json``: what the target is.

    Attributes:
        recipients: Whose identities open the key files alone.
        recipient: With a quorum: the one whose identity is shared among the holders.
        quorum: How many holders open it together; 0 without recovery keys.
        holders: How many there are.
    """

    format: str
    environment: Part
    tenant: Part
    recipients: tuple[str, ...] = ()
    recipient: str | None = None
    quorum: int = Field(default=0, ge=0)
    holders: int = Field(default=0, ge=0)

    @property
    def all_recipients(self) -> tuple[str, ...]:
        """Whom the key files are encrypted to."""
        return self.recipients if self.recipient is None else (*self.recipients, self.recipient)


class KeyFile(_FromTarget):
    """What opens and describes one version; ``docs/formats.md`` has the members."""

    document: Part
    version: int = Field(ge=1)
    tag: Part
    name: str
    media_type: str
    metadata: dict[str, str] = {}
    size: int = Field(ge=0)
    sha256: Sha256
    sealed_size: int
    sealed_sha256: Sha256
    created_at: UtcDatetime
    object: str = Field(pattern=r"^content/[a-z0-9_-]+/[0-9]+\.[a-z0-9_-]+$")
    data_key: Base64UrlBytes = Field(min_length=KEY_SIZE, max_length=KEY_SIZE, repr=False)
    associated_data: str = Field(pattern=r"^[\x20-\x7e]{1,1024}$")

    @model_validator(mode="after")
    def _sizes_agree(self) -> KeyFile:
        if self.sealed_size != sealed_size(self.size):
            raise ValueError("no content of this size seals to that size")
        return self

    @property
    def object_name(self) -> str:
        """The name of the key file."""
        return f"{KEYS_FOLDER}{self.document}/{self.version}.{self.tag}{KEY_FILE_SUFFIX}"


class HolderShare(_FromTarget):
    """One holder's share of the identity that opens the key files."""

    index: int = Field(ge=1, le=255)
    threshold: int = Field(ge=1, le=255)
    share: Base64UrlBytes = Field(min_length=1, max_length=1024, repr=False)


def parse_target(text: bytes) -> TargetInfo:
    """Read ``strongroom.json``.

    Raises:
        Malformed: It is not as the format has it, or of a format that is not known.
    """
    info = _parse(TargetInfo, text)
    if info.format != TARGET_FORMAT:
        raise Malformed("its format is of a later release; use that release's `strongroom`")
    return info


def parse_key_file(text: bytes) -> KeyFile:
    """Read a decrypted key file.

    Raises:
        Malformed: It is not as the format has it.
    """
    return _parse(KeyFile, text)


def parse_share(text: bytes) -> HolderShare:
    """Read a decrypted holder's file.

    Raises:
        Malformed: It is not as the format has it.
    """
    return _parse(HolderShare, text)


def _parse(model: type[M], text: bytes) -> M:
    try:
        return model.model_validate_json(text)
    except ValidationError:
        # Its message would quote keys.
        raise Malformed("it is not as the format has it") from None
