"""Reading and hashing what packs hold: neighbours in a pack are read in one request."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final

from shared.backup.models import object_name
from shared.backup.state import Location
from shared.base.concurrency import at_once
from shared.base.errors import Damaged, NotFound
from shared.base.streams import run_in_thread
from shared.ports.write_once import WriteOnceStore

RUN_BYTES: Final = 8 << 20
"""Neighbours up to this size together are read whole."""

GAP: Final = 65_536
"""Bytes between two versions that are read too, in place of a second request."""

READ_AT_ONCE: Final = 4


async def hash_packed(
    store: WriteOnceStore, tenant: str, locations: Iterable[Location]
) -> Mapping[str, bytes]:
    """The SHA-256 of what lies at each location, by the ids of these; what cannot be read is left out.

    Raises:
        Unavailable: The backup store does not respond.
    """

    async def hash_run(run: list[Location]) -> Mapping[str, bytes]:
        return await _hash_run(store, tenant, run)

    found: dict[str, bytes] = {}
    for digests in await at_once(hash_run, runs(locations), READ_AT_ONCE):
        found |= digests
    return found


async def read_sound(
    store: WriteOnceStore, tenant: str, run: list[Location], sealed_sha256: Mapping[str, bytes]
) -> Sequence[tuple[Location, memoryview]]:
    """The content of the versions of a run, where it is what was sealed; other versions are left out.

    Args:
        store: Where sets are.
        tenant: Whose.
        run: As ``runs`` gave it.
        sealed_sha256: By the ids of the locations.

    Raises:
        Unavailable: The backup store does not respond.
    """
    start = run[0].offset
    try:
        whole = await _read_run(store, tenant, run)
    except (Damaged, NotFound):
        return ()
    digests = await asyncio.to_thread(_hash_slices, whole, start, run)
    view = memoryview(whole)
    return [
        (each, view[each.offset - start : _end(each) - start])
        for each in run
        if hmac.compare_digest(digests[each.id], sealed_sha256[each.id])
    ]


def runs(locations: Iterable[Location]) -> list[list[Location]]:
    """Locations that one request reads together."""
    runs: list[list[Location]] = []
    ordered = sorted(locations, key=lambda each: (each.pack, each.offset))
    for _, same in groupby(ordered, key=lambda each: each.pack):
        run: list[Location] = []
        for each in same:
            near = bool(run) and each.offset <= _end(run[-1]) + GAP
            if near and _end(each) - run[0].offset <= RUN_BYTES:
                run.append(each)
            else:
                run = [each]
                runs.append(run)
    return runs


async def _hash_run(store: WriteOnceStore, tenant: str, run: list[Location]) -> Mapping[str, bytes]:
    try:
        if len(run) == 1:
            return {run[0].id: await _hash_stream(_stream_run(store, tenant, run))}
        whole = await _read_run(store, tenant, run)
    except NotFound:
        return {}
    except Damaged:
        if len(run) == 1:
            return {}
        alone = [await _hash_run(store, tenant, [each]) for each in run]
        return {name: digest for found in alone for name, digest in found.items()}
    return await asyncio.to_thread(_hash_slices, whole, run[0].offset, run)


def _stream_run(store: WriteOnceStore, tenant: str, run: list[Location]) -> AsyncIterator[bytes]:
    name = object_name(tenant, "packs", run[0].pack)
    return store.get(name, start=run[0].offset, end=max(_end(each) for each in run))


async def _read_run(store: WriteOnceStore, tenant: str, run: list[Location]) -> bytes:
    return b"".join([piece async for piece in _stream_run(store, tenant, run)])


def _hash_slices(whole: bytes, start: int, run: list[Location]) -> Mapping[str, bytes]:
    view = memoryview(whole)
    return {
        each.id: hashlib.sha256(view[each.offset - start : _end(each) - start]).digest()
        for each in run
    }


async def _hash_stream(content: AsyncIterator[bytes]) -> bytes:
    digest = hashlib.sha256()
    async for piece in content:
        await run_in_thread(digest.update, piece)
    return digest.digest()


def _end(location: Location) -> int:
    return location.offset + location.size
