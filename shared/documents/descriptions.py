"""What a client says about the content of a staged upload, sealed until the content has arrived."""

from __future__ import annotations

from dataclasses import dataclass

from shared.base.models import Base64UrlBytes
from shared.crypto.metadata import metadata_associated_data, open_metadata, seal_metadata
from shared.documents.models import Description, Upload
from shared.keys.epochs import EpochKeys
from shared.ports.clock import Runtime


class ExpectedContent(Description):
    """A description with what the content must be.

    Attributes:
        size: Bytes.
        sha256: Of the content; None: the client did not say.
        sha512: The same.
    """

    size: int
    sha256: Base64UrlBytes | None = None
    sha512: Base64UrlBytes | None = None


@dataclass(frozen=True, slots=True)
class SealedDescription:
    """A sealed ``ExpectedContent`` and the id of the epoch whose key seals it."""

    epoch: str
    sealed: bytes


@dataclass(frozen=True, slots=True)
class UploadDescriptions:
    """Seals and opens the descriptions of uploads."""

    epochs: EpochKeys
    environment: str
    runtime: Runtime

    async def seal(self, tenant: str, upload: str, expected: ExpectedContent) -> SealedDescription:
        """Seal a description for one upload."""
        epoch = await self.epochs.current(tenant)
        sealed = seal_metadata(
            epoch.key,
            self._bound_to(tenant, upload),
            expected.model_dump(mode="json", exclude_none=True),
            self.runtime.random,
        )
        return SealedDescription(epoch.id, sealed)

    async def open(self, tenant: str, upload: Upload) -> ExpectedContent:
        """The description of an upload.

        Raises:
            Damaged: It is not what was sealed.
        """
        epoch = await self.epochs.of(tenant, upload.epoch)
        opened = open_metadata(epoch.key, self._bound_to(tenant, upload.id), upload.description)
        return ExpectedContent.model_validate(opened)

    def _bound_to(self, tenant: str, upload: str) -> bytes:
        return metadata_associated_data(self.environment, tenant, "upload", upload)
