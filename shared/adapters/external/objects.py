"""ObjectTarget: a target in an object store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shared.adapters.checks import check_blob_name, check_blob_prefix, check_range
from shared.adapters.external.faults import Doing, is_past_the_end, translate
from shared.adapters.external.feeding import Feed
from shared.adapters.external.gate import GateClient
from shared.adapters.external.pacing import Pacer
from shared.adapters.external.probing import probe_objects
from shared.adapters.external.stores import StoreMaker
from shared.base.buffers import Buffer
from shared.base.errors import NotFound, Unavailable
from shared.ports.blobs import BlobInfo, is_blob_name
from shared.ports.clock import Runtime
from shared.ports.targets import ProbeResult

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ObjectStore

MEBIBYTE: Final = 1_048_576
_PART: Final = 5 * MEBIBYTE
"""Bytes of one request, up or down: the least that S3 takes, as each is held in memory."""

_MOST_PARTS: Final = 10_000
"""Of one object: the limit of S3."""

_PARTS_AT_ONCE: Final = 2
_REQUESTS_AT_ONCE: Final = 8
"""Of one target, parts of one object counted once: less than the gate's limit, so that nothing fails."""

_LISTED_AT_ONCE: Final = 1_000
_TIDYING_SECONDS: Final = 10


@dataclass(slots=True)
class ObjectTarget:
    """A ``TargetStore`` over a client of obstore, which is made when first used.

    Attributes:
        make: Makes the client.
        gate: What it does everything through.
        prefix: What the names of all objects begin with.
        pacer: Limits the bandwidth.
        probe_network: Tries whether the store can be reached.
        runtime: Randomness.
    """

    make: StoreMaker
    gate: GateClient
    prefix: str
    pacer: Pacer
    probe_network: Callable[[], Awaitable[Sequence[ProbeResult]]]
    runtime: Runtime
    _store: ObjectStore | None = field(default=None, init=False)
    _turn: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._turn = asyncio.Semaphore(_REQUESTS_AT_ONCE)

    async def put(self, name: str, content: AsyncIterator[Buffer], size: int) -> None:
        """See ``TargetStore.put``.

        A large object goes up in parts. A process that is killed leaves them with the service, which drops
        them if the bucket has a rule for incomplete uploads.
        """
        check_blob_name(name)
        feed = Feed(self.pacer.paced(content), size)
        async with self._request("write"):
            if size <= _PART:
                whole = b"".join([chunk async for chunk in feed])
                await self._put(name, whole, _PART, multipart=False)
                return
            part = max(_PART, -(-size // _MOST_PARTS))
            putting = asyncio.ensure_future(self._put(name, feed, part, multipart=True))
            try:
                await asyncio.shield(putting)
            except asyncio.CancelledError:
                # Given an error instead, the client removes the parts that it has sent.
                feed.stop()
                await asyncio.wait([putting], timeout=_TIDYING_SECONDS)
                if putting.done() and not putting.cancelled():
                    putting.exception()
                putting.cancel()
                raise

    async def get(
        self, name: str, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """See ``TargetStore.get``.

        Raises:
            Unavailable: The object was replaced while it was read, too.
        """
        import obstore

        check_blob_name(name)
        check_range(start, end)
        path, store = self.prefix + name, await self._opened()
        if start == end:  # which clients refuse to ask for
            async with self._request("read"):
                await obstore.head_async(store, path)
            return
        options: GetOptions = {}
        while end is None or start < end:
            upto = start + _PART if end is None else min(end, start + _PART)
            async with self._request("read"):
                try:
                    found = await obstore.get_async(
                        store, path, options={**options, "range": (start, upto)}
                    )
                    piece = bytes(await found.bytes_async())
                except obstore.exceptions.GenericError as error:
                    if is_past_the_end(error):
                        return
                    raise
            if found.meta["e_tag"]:
                options = {"if_match": found.meta["e_tag"]}
            end = found.meta["size"] if end is None else min(end, found.meta["size"])
            start += len(piece)
            yield piece

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """See ``TargetStore.list``."""
        import obstore

        check_blob_prefix(prefix)
        store = await self._opened()
        wanted = self.prefix + prefix
        folders = [wanted.rpartition("/")[0]]
        if wanted and not wanted.endswith("/"):
            # Clients list what is below a folder, all of it: so look first which folders begin so.
            async with self._request("list"):
                beside = await obstore.list_with_delimiter_async(store, folders[0] or None)
            for info in self._infos(beside["objects"], prefix):
                yield info
            folders = [each for each in beside["common_prefixes"] if each.startswith(wanted)]
        for folder in folders:
            pages = obstore.list(store, folder or None, chunk_size=_LISTED_AT_ONCE)
            while True:
                async with self._request("list"):
                    page = await anext(pages, None)
                if page is None:
                    break
                for info in self._infos(page, prefix):
                    yield info

    def _infos(self, page: Iterable[ObjectMeta], prefix: str) -> Iterator[BlobInfo]:
        """Those of a list's entries that are below the target's prefix and have names that begin so."""
        for meta in page:
            name = meta["path"].removeprefix(self.prefix)
            ours = self.prefix + name == meta["path"] and is_blob_name(name)
            if ours and name.startswith(prefix):
                yield BlobInfo(name, meta["size"], meta["last_modified"])

    async def delete(self, name: str) -> None:
        """See ``TargetStore.delete``."""
        import obstore

        check_blob_name(name)
        store = await self._opened()
        try:
            async with self._request("delete"):
                await obstore.delete_async(store, self.prefix + name)
        except NotFound:
            return

    async def probe(self) -> Sequence[ProbeResult]:
        """See ``TargetStore.probe``."""
        results = await self.probe_network()
        if not results[-1].ok:
            return results
        return [*results, *await probe_objects(self, self.runtime)]

    async def close(self) -> None:
        """See ``TargetStore.close``. The client closes its connections when it goes."""
        self._store = None
        self.gate.close()

    async def _put(self, name: str, content: bytes | Feed, part: int, *, multipart: bool) -> None:
        import obstore

        await obstore.put_async(
            await self._opened(),
            self.prefix + name,
            content,
            use_multipart=multipart,
            chunk_size=part,
            max_concurrency=_PARTS_AT_ONCE,
        )

    async def _opened(self) -> ObjectStore:
        if self._store is None:
            self._store = self.make(await self.gate.url())
        return self._store

    @asynccontextmanager
    async def _request(self, doing: Doing) -> AsyncIterator[None]:
        """Wait for a turn, and translate what goes wrong."""
        from obstore.exceptions import BaseError, PreconditionError

        try:
            async with self._turn:
                yield
        # Never as the cause: what the client says holds URLs, and tracebacks are logged.
        except PreconditionError:
            raise Unavailable("The object was replaced while it was read.") from None
        except (BaseError, FileNotFoundError) as error:
            raise translate(error, doing, self.gate.failure()) from None
