"""AzureWriteOnce: the WriteOnceStore port on Azure Blob Storage, with immutability of versions.

The account has versioning on, and the container supports immutability policies on versions. An object
is created together with a locked policy, which the service enforces against everybody: until its date
the version cannot be deleted or changed, and the date only moved later.

That protects the version, not the name. Whoever may write or delete blobs can put a newer version over
it, or delete the blob, which leaves the version without a current one. So an object is here the oldest
version of its name: neither changes what is read, listed or retained.
https://learn.microsoft.com/azure/storage/blobs/immutable-version-level-worm-policies
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from shared.adapters.azure.blob_errors import classify
from shared.adapters.azure.blobs import AzureBlobs, locked_policy
from shared.adapters.azure.calls import Attempts, Classification, call
from shared.adapters.azure.clients import AzureClients
from shared.adapters.checks import check_blob_name, check_blob_prefix, check_range
from shared.adapters.retention import first_retention_date, retained, retention_date
from shared.base.buffers import Buffer
from shared.base.errors import Conflict, InternalError, NotFound, Retained
from shared.ports.blobs import BlobStore
from shared.ports.clock import Clock
from shared.ports.write_once import RetainedInfo

if TYPE_CHECKING:
    from azure.storage.blob.aio import BlobClient, ContainerClient

T = TypeVar("T")

_IMMUTABLE: Final = frozenset({"BlobImmutableDueToPolicy", "BlobImmutableDueToLegalHold"})
_LISTED_AT_ONCE: Final = 1_000
_VERSIONS_AT_ONCE: Final = 10
_INCLUDED: Final = ["versions", "immutabilitypolicy"]


@dataclass(frozen=True, slots=True)
class _Version:
    """A version of a blob.

    Attributes:
        info: The object that it is, or was put over.
        id: None in an account without versioning, such as an emulator's.
        current: Whether it is what the blob's name means to the service.
    """

    info: RetainedInfo
    id: str | None
    current: bool


_Page = tuple[Sequence[_Version], str | None]
"""A page of a listing, and what continues after it."""


class AzureWriteOnce:
    """A ``WriteOnceStore`` in one container of a storage account, which the deployment made.

    Reading, describing and changing an object each cost one more request, which finds its version.

    Args:
        clients: The process's clients.
        account: The account's URL; for an emulator a connection string.
        container: The container's name.
        clock: Says which dates have passed, beside the service's own.
    """

    def __init__(self, clients: AzureClients, account: str, container: str, clock: Clock) -> None:
        self._clients = clients
        self._account = account
        self._container_name = container
        self._clock = clock
        self._blobs = AzureBlobs(clients, account, container, clock)

    async def put(
        self, name: str, content: AsyncIterator[Buffer], *, retain_until: datetime
    ) -> int:
        """See ``WriteOnceStore.put``."""
        check_blob_name(name)
        date = first_retention_date(retain_until, self._clock.now())
        await self._refuse_existing(name)
        return await self._blobs.put(name, content, retain_until=date)

    async def copy_from(
        self, source: BlobStore, source_name: str, name: str, *, retain_until: datetime
    ) -> int:
        """See ``WriteOnceStore.copy_from``, and ``AzureBlobs.copy_from`` for the way."""
        check_blob_name(name)
        date = first_retention_date(retain_until, self._clock.now())
        await self._refuse_existing(name)
        return await self._blobs.copy_from(source, source_name, name, retain_until=date)

    async def get(
        self, name: str, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """See ``WriteOnceStore.get``. Every piece's MD5 is checked; one that fails is read again."""
        check_range(start, end)
        version = await self._object(name)
        size = version.info.size
        end = size if end is None else min(end, size)
        async for piece in self._blobs.read(name, start, end, version=version.id):
            yield piece

    async def head(self, name: str) -> RetainedInfo:
        """See ``WriteOnceStore.head``."""
        return (await self._object(name)).info

    async def environment(self) -> str | None:
        """The environment that the container says it belongs to; None where it says nothing."""
        return await self._blobs.environment()

    async def list(self, prefix: str = "") -> AsyncIterator[RetainedInfo]:
        """See ``WriteOnceStore.list``."""
        check_blob_prefix(prefix)
        oldest: _Version | None = None
        async for version in self._walk(prefix, _LISTED_AT_ONCE):
            if oldest is None or oldest.info.name != version.info.name:
                if oldest is not None:
                    yield oldest.info
                oldest = version
            oldest = min(oldest, version, key=_age)
        if oldest is not None:
            yield oldest.info

    async def extend(self, name: str, retain_until: datetime) -> None:
        """See ``WriteOnceStore.extend``."""
        now = self._clock.now()
        date = retention_date(retain_until, now)
        version = await self._object(name)
        if date <= version.info.retain_until or date <= now:
            return
        blob = self._blob(name)
        try:
            await self._call(
                lambda: blob.set_immutability_policy(locked_policy(date), version_id=version.id)
            )
        except (InternalError, Retained):
            # Refused: it would have been earlier than what somebody else has set meanwhile.
            if (await self._object(name)).info.retain_until < date:
                raise

    async def delete(self, name: str) -> None:
        """See ``WriteOnceStore.delete``.

        The service deletes a current version by the blob's name alone, which keeps it as a previous
        one; that is then deleted by its id, as are all others that were put over it.
        """
        versions = await self._versions(name)
        for version in versions:
            if version.info.retain_until > self._clock.now():
                raise retained(version.info.retain_until)
        blob = self._blob(name)
        with suppress(NotFound):
            if any(version.current for version in versions):
                await self._call(lambda: blob.delete_blob())
        for version in versions:
            if version.id is not None:
                await self._delete_version(blob, version.id)

    async def _delete_version(self, blob: BlobClient, version_id: str) -> None:
        with suppress(NotFound):
            await self._call(lambda: blob.delete_blob(version_id=version_id))

    async def _refuse_existing(self, name: str) -> None:
        """Refuse a name that has a version but no current one, which the service would take.

        Raises:
            Conflict: It has a version.
        """
        if await self._versions(name):
            raise Conflict("An object of this name exists.")

    async def _object(self, name: str) -> _Version:
        versions = await self._versions(name)
        if not versions:
            raise NotFound("There is no such object.")
        return min(versions, key=_age)

    async def _versions(self, name: str) -> Sequence[_Version]:
        """The versions of one name, which begin the listing of it as a prefix."""
        check_blob_name(name)
        versions: list[_Version] = []
        async for version in self._walk(name, _VERSIONS_AT_ONCE):
            if version.info.name != name:
                break
            versions.append(version)
        return versions

    async def _walk(self, prefix: str, at_once: int) -> AsyncIterator[_Version]:
        token: str | None = None
        while True:
            found, token = await self._page(prefix, at_once, token)
            for version in found:
                yield version
            if not token:
                return

    async def _page(self, prefix: str, at_once: int, token: str | None) -> _Page:
        async def read() -> _Page:
            pages = self._container.list_blobs(
                name_starts_with=prefix, include=_INCLUDED, results_per_page=at_once
            ).by_page(token)
            try:
                page = await anext(pages)
            except StopAsyncIteration:
                return [], None
            versions = [_version(blob) async for blob in page]
            return versions, getattr(pages, "continuation_token", None)

        return await self._call(read)

    @property
    def _container(self) -> ContainerClient:
        return self._clients.blob_service(self._account).get_container_client(self._container_name)

    def _blob(self, name: str) -> BlobClient:
        return self._container.get_blob_client(name)

    async def _call(self, operation: Callable[[], Awaitable[T]]) -> T:
        async def attempt(_attempts: Attempts) -> T:
            return await operation()

        return await call(attempt, _classify, self._clients.timeouts)


def _version(blob: Any) -> _Version:
    # Without a policy nothing protects it; it was made by something else than this store.
    date = blob.immutability_policy.expiry_time or blob.last_modified
    info = RetainedInfo(blob.name, blob.size, blob.last_modified, date)
    return _Version(info, blob.version_id, bool(blob.is_current_version) or not blob.version_id)


def _age(version: _Version) -> str:
    return version.id or ""


def _classify(error: Exception) -> Classification | None:
    if getattr(error, "error_code", None) in _IMMUTABLE:
        return Classification(Retained("The object is retained; delete it after its date."))
    return classify(error)
