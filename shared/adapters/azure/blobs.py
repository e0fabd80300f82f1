"""AzureBlobs: the BlobStore port on Azure Blob Storage."""

from __future__ import annotations

import base64
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from shared.adapters.azure.blob_errors import BlocksDroppedError, classify
from shared.adapters.azure.calls import Attempts, call
from shared.adapters.azure.clients import AzureClients
from shared.adapters.azure.sas import SharedAccess
from shared.adapters.checks import check_blob_name, check_blob_prefix, check_range
from shared.adapters.small import read_small
from shared.base.buffers import Buffer
from shared.base.concurrency import at_once
from shared.base.environment import ENVIRONMENT_TAG
from shared.base.errors import Conflict, NotFound
from shared.base.streams import single
from shared.ports.blobs import BlobInfo, BlobStore, UploadGrant
from shared.ports.clock import Clock

if TYPE_CHECKING:
    from azure.storage.blob import ImmutabilityPolicy
    from azure.storage.blob.aio import BlobClient, ContainerClient

T = TypeVar("T")
_Page = tuple[Sequence[BlobInfo], str | None]
"""A page of a listing, and what continues after it."""

_PIECE: Final = 4 * 1_048_576
"""Bytes of a block and of a ranged read: the most that the service gives an MD5 for."""

_LISTED_AT_ONCE: Final = 1_000
_PUT_AT_ONCE: Final = 16
_GET_AT_ONCE: Final = 16
_FETCH_TIME: Final = timedelta(hours=1)
_FETCHED_AT_ONCE: Final = 64 * 1_048_576
_UNREACHABLE: Final = frozenset({400, 401, 403, 404, 405, 501})
"""How the service says that it cannot, or may not, read the source of a copy."""


class AzureBlobs:
    """A ``BlobStore`` in one container of a storage account, which the deployment made.

    Args:
        clients: The process's clients.
        account: The account's URL; for an emulator a connection string.
        container: The container's name.
        clock: Dates the accesses that are granted.
        public_base_url: Where clients reach the account, without a trailing slash, if a gateway
            stands in front of it; None: at its own URL.
    """

    def __init__(
        self,
        clients: AzureClients,
        account: str,
        container: str,
        clock: Clock,
        public_base_url: str | None = None,
    ) -> None:
        self._clients = clients
        self._account = account
        self._container_name = container
        self._clock = clock
        self._public_base_url = public_base_url
        self._access = SharedAccess(clients, account, container, clock)
        self._unreachable: set[str] = set()

    async def put(
        self,
        name: str,
        content: AsyncIterator[Buffer],
        *,
        retain_until: datetime | None = None,
    ) -> int:
        """See ``BlobStore.put``.

        Each put stages blocks under ids of its own, so that writers of one name never mix. Blocks
        that were never committed are invisible, and the service drops them after a week.

        Args:
            name: The object.
            content: Its content.
            retain_until: The service keeps the object until then, from its first moment on; for a
                container with immutability of versions.
        """
        check_blob_name(name)
        put_id = uuid.uuid4().hex
        blocks: list[str] = []
        size = 0
        pending = bytearray()
        async for chunk in content:
            pending += chunk
            size += len(chunk)
            while len(pending) >= _PIECE:
                blocks.append(await self._stage(name, put_id, len(blocks), bytes(pending[:_PIECE])))
                del pending[:_PIECE]
        if pending:
            blocks.append(await self._stage(name, put_id, len(blocks), bytes(pending)))
        await self._commit(name, blocks, retain_until)
        return size

    async def put_all(self, contents: Sequence[tuple[str, Buffer]]) -> None:
        """See ``BlobStore.put_all``."""

        async def put(content: tuple[str, Buffer]) -> None:
            name, data = content
            await self.put(name, single(data))

        await at_once(put, contents, _PUT_AT_ONCE)

    async def get(
        self, name: str, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """See ``BlobStore.get``. Every piece's MD5 is checked; a piece that fails is read again."""
        check_blob_name(name)
        check_range(start, end)
        size = (await self.head(name)).size
        end = size if end is None else min(end, size)
        while start < end:
            # No name holds the piece: a reader that stalls pays for what it holds itself.
            yield await self._read(name, start, min(_PIECE, end - start), None)
            start += _PIECE

    async def read(
        self, name: str, start: int, end: int, *, version: str | None = None
    ) -> AsyncIterator[bytes]:
        """Stream a range within an object.

        Args:
            name: The object.
            start: The first byte.
            end: The byte after the last; at most the object's size.
            version: The id of the version to read; None: the current one.
        """
        while start < end:
            piece = await self._read(name, start, min(_PIECE, end - start), version)
            yield piece
            start += len(piece)

    async def get_all(self, wanted: Sequence[tuple[str, int]]) -> Sequence[bytes | None]:
        """See ``BlobStore.get_all``."""
        return await at_once(lambda each: read_small(self, *each), wanted, _GET_AT_ONCE)

    async def head(self, name: str) -> BlobInfo:
        """See ``BlobStore.head``."""
        check_blob_name(name)
        found = await self._call(lambda: self._blob(name).get_blob_properties())
        coding = found.content_settings.content_encoding or ""
        return BlobInfo(name, found.size, found.last_modified, coding=coding)

    async def environment(self) -> str | None:
        """The environment that the container says it belongs to; None where it says nothing."""
        found = await self._call(lambda: self._container.get_container_properties())
        return (found.metadata or {}).get(ENVIRONMENT_TAG)

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """See ``BlobStore.list``."""
        check_blob_prefix(prefix)
        token: str | None = None
        while True:
            found, token = await self._page(prefix, token)
            for info in found:
                yield info
            if not token:
                return

    async def delete(self, name: str) -> None:
        """See ``BlobStore.delete``."""
        check_blob_name(name)
        try:
            await self._call(lambda: self._blob(name).delete_blob())
        except NotFound:
            return

    async def copy_from(
        self,
        source: BlobStore,
        source_name: str,
        name: str,
        *,
        retain_until: datetime | None = None,
    ) -> int:
        """See ``BlobStore.copy_from``, and ``put`` for the date.

        Between accounts the service copies by itself, if this account may reach the other;
        otherwise the content passes through here.
        """
        check_blob_name(name)
        if isinstance(source, AzureBlobs) and source._account not in self._unreachable:
            blocks = await self._stage_from(source, source_name, name)
            if blocks is not None:
                await self._commit(name, blocks, retain_until)
                return (await self.head(name)).size
            self._unreachable.add(source._account)
        return await self.put(name, source.get(source_name), retain_until=retain_until)

    async def grant_upload(self, name: str, *, max_size: int, expires_at: datetime) -> UploadGrant:
        """See ``BlobStore.grant_upload``. The service cannot bind the size; its check is the reader's.

        The grant can create the object and nothing else: not overwrite, read or delete it.
        """
        check_blob_name(name)
        signature = await self._access.signature(name, "c", expires_at)
        base = self._public_base_url or self._container.primary_endpoint.rpartition("/")[0]
        return UploadGrant(
            url=f"{base}/{self._container_name}/{name}?{signature}",
            method="PUT",
            headers={"x-ms-blob-type": "BlockBlob"},
            expires_at=expires_at,
        )

    @property
    def _container(self) -> ContainerClient:
        return self._clients.blob_service(self._account).get_container_client(self._container_name)

    def _blob(self, name: str) -> BlobClient:
        return self._container.get_blob_client(name)

    async def _stage(self, name: str, put_id: str, number: int, data: bytes) -> str:
        block = _block_id(put_id, number)
        await self._call(lambda: self._blob(name).stage_block(block, data, validate_content=True))
        return block

    async def _commit(
        self, name: str, blocks: Sequence[str], retain_until: datetime | None
    ) -> None:
        """Make the blocks an object, unless there is one of this name.

        The mark tells whose object it is, where the name is taken.

        Raises:
            Conflict: There is one, and it is not this one.
        """
        from azure.core import MatchConditions
        from azure.storage.blob import BlobBlock

        mark = uuid.uuid4().hex
        policy = None if retain_until is None else locked_policy(retain_until)

        async def commit(_attempts: Attempts) -> None:
            try:
                await self._blob(name).commit_block_list(
                    [BlobBlock(block) for block in blocks],
                    metadata={"mark": mark},
                    match_condition=MatchConditions.IfMissing,
                    immutability_policy=policy,
                )
            except Exception as error:
                classification = classify(error)
                if classification is None or not isinstance(
                    classification.error, (Conflict, BlocksDroppedError)
                ):
                    raise
                # The object may be ours: the HTTP client repeats a PUT by itself, without a word,
                # when the response was lost.
                stored = await self._blob(name).get_blob_properties()
                if stored.metadata.get("mark") != mark:
                    raise Conflict("An object of this name exists.") from error

        await call(commit, classify, self._clients.timeouts)

    async def _read(self, name: str, start: int, length: int, version: str | None) -> bytes:
        async def read() -> bytes:
            reading = await self._blob(name).download_blob(
                offset=start, length=length, validate_content=True, version_id=version
            )
            return await reading.readall()

        return await self._call(read)

    async def _page(self, prefix: str, token: str | None) -> _Page:
        async def read() -> _Page:
            pages = self._container.list_blobs(
                name_starts_with=prefix, results_per_page=_LISTED_AT_ONCE
            ).by_page(token)
            try:
                page = await anext(pages)
            except StopAsyncIteration:
                return [], None
            infos = [BlobInfo(blob.name, blob.size, blob.last_modified) async for blob in page]
            return infos, getattr(pages, "continuation_token", None)

        return await self._call(read)

    async def _stage_from(
        self, source: AzureBlobs, source_name: str, name: str
    ) -> Sequence[str] | None:
        """Let the service fetch the blocks of an object by itself.

        Their ids; None where it cannot reach the source, as between accounts behind firewalls.
        """
        from azure.core.exceptions import HttpResponseError

        size = (await source.head(source_name)).size
        signature = await source._access.signature(
            source_name, "r", self._clock.now() + _FETCH_TIME
        )
        url = f"{source._blob(source_name).url}?{signature}"
        put_id = uuid.uuid4().hex
        blocks: list[str] = []
        for start in range(0, size, _FETCHED_AT_ONCE):
            length = min(_FETCHED_AT_ONCE, size - start)
            block = _block_id(put_id, len(blocks))

            async def fetch(start: int = start, length: int = length, block: str = block) -> bool:
                try:
                    await self._blob(name).stage_block_from_url(
                        block, url, source_offset=start, source_length=length
                    )
                except HttpResponseError as error:
                    if error.status_code in _UNREACHABLE:
                        return False
                    raise
                return True

            if not await self._call(fetch):
                return None
            blocks.append(block)
        return blocks

    async def _call(self, operation: Callable[[], Awaitable[T]]) -> T:
        async def attempt(_attempts: Attempts) -> T:
            return await operation()

        return await call(attempt, classify, self._clients.timeouts)


def locked_policy(retain_until: datetime) -> ImmutabilityPolicy:
    """A policy that nobody can remove or end earlier, whatever rights they have in the account."""
    from azure.storage.blob import ImmutabilityPolicy

    return ImmutabilityPolicy(expiry_time=retain_until, policy_mode="Locked")


def _block_id(put_id: str, number: int) -> str:
    return base64.b64encode(f"{put_id}{number:08}".encode()).decode()
