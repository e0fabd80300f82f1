"""TargetStore: external storage that a tenant owns; TargetConnector: opens it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import Field, SecretStr, StrictBool

from shared.base.buffers import Buffer
from shared.base.models import Model
from shared.ports.blobs import BlobInfo

TargetKind = Literal["azure-blob", "s3", "google-cloud-storage", "folder"]


class TargetAddress(Model):
    """Where a target is.

    Attributes:
        kind: The protocol; ``folder`` only where the operator's settings allow it.
        bucket: The bucket, the container, or below the operator's folder of targets the folder.
        prefix: What the names of all objects begin with there; empty or ending in ``/``.
        endpoint: The URL of the service, ``https``; empty: the provider's own.
        region: Of the bucket, where the protocol needs it.
        account: Azure: the storage account.
        bucket_in_host: S3 at an ``endpoint``: its host begins with the bucket, which paths then leave out.
    """

    kind: TargetKind
    bucket: str = Field(min_length=1, max_length=255)
    prefix: str = Field(default="", max_length=255)
    endpoint: str = Field(default="", max_length=255)
    region: str = Field(default="", max_length=64)
    account: str = Field(default="", max_length=64)
    bucket_in_host: StrictBool = False


class TargetCredentials(Model):
    """What opens a target: one of the forms; never shown again, never in a log.

    Attributes:
        access_key_id: S3.
        secret_access_key: S3.
        account_key: Azure: the account's key.
        sas_token: Azure: a shared access signature for the container.
        service_account: Google Cloud Storage: the JSON of a service account's key.
    """

    access_key_id: SecretStr | None = None
    secret_access_key: SecretStr | None = None
    account_key: SecretStr | None = None
    sas_token: SecretStr | None = None
    service_account: SecretStr | None = None


ProbeStep = Literal["resolve", "connect", "tls", "write", "read", "delete"]


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one step of a probe found.

    Attributes:
        step: What was tried.
        ok: Whether it worked.
        detail: If not: what was wrong and what to do; no secret.
    """

    step: ProbeStep
    ok: bool
    detail: str = ""


class TargetStore(Protocol):
    """One target. Names are those of ``BlobStore``, below the address's prefix.

    Names lie there as they are, so that other programs find them; a target may be a folder, so no name
    may go on where another one ends: ``a`` and ``a/b`` cannot both exist.

    Errors of the service behind it become ``Unavailable``; what credentials do not allow ``Forbidden``.
    Their details say what was wrong, and hold no secret.
    """

    async def put(self, name: str, content: AsyncIterator[Buffer], size: int) -> None:
        """Store an object, in place of one of the same name; durable on return, as the service promises.

        Until then, an object of this name is what it was. Each chunk is used before the next one is asked
        for.

        Args:
            name: Of the object.
            content: Its bytes.
            size: How many.

        Raises:
            ValueError: The stream ended early or went on; nothing was stored.
        """
        ...

    def get(self, name: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Stream a range of an object; see ``BlobStore.get``.

        Raises:
            NotFound: There is no such object (raised by the first ``anext``).
            ValueError: The range starts before 0, or ends before it starts.
        """
        ...

    def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """Every object whose name starts with ``prefix``, in no order; others below it are left out."""
        ...

    async def delete(self, name: str) -> None:
        """Remove the object; where there is none, do nothing."""
        ...

    async def probe(self) -> Sequence[ProbeResult]:
        """Try each step in turn, up to the first that fails; leaves nothing behind."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class TargetConnector(Protocol):
    """Opens targets."""

    def open(
        self,
        tenant: str,
        address: TargetAddress,
        credentials: TargetCredentials,
        *,
        bytes_per_second: int = 0,
    ) -> TargetStore:
        """A target; nothing is connected yet.

        Args:
            tenant: Whose it is: a target of the kind ``folder`` is one of the tenant's own folders.
            address: Where it is.
            credentials: For it.
            bytes_per_second: The most to send; 0: no limit.

        Raises:
            InvalidInput: The address cannot be one of a target, or the credentials are of another kind.
        """
        ...

    async def close(self) -> None:
        """Let go of what all targets share; targets are closed before."""
        ...
