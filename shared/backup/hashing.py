"""Hashing what packs hold: neighbours in a pack are read in one request."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping
from itertools import groupby
from typing import Final

from shared.backup.concurrency import at_once
from shared.backup.models import object_name
from shared.backup.state import Location
from shared.base.errors import Damaged, NotFound
from shared.base.streams import run_in_thread
from shared.ports.write_once import WriteOnceStore

RUN_BYTES: Final = 8 << 20
"""Neighbours up to this size together are read whole."""

GAP: Final = 65_536
"""What lies between two contents, bytes, that is rather read than asked around."""

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
    for digests in await at_once(hash_run, _runs(locations), READ_AT_ONCE):
        found |= digests
    return found


def _runs(locations: Iterable[Location]) -> list[list[Location]]:
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
    name = object_name(tenant, "packs", run[0].pack)
    start, end = run[0].offset, max(_end(each) for each in run)
    content = store.get(name, start=start, end=end)
    try:
        if len(run) == 1:
            return {run[0].id: await _hash_stream(content)}
        whole = b"".join([piece async for piece in content])
    except NotFound:
        return {}
    except Damaged:
        if len(run) == 1:
            return {}
        alone = [await _hash_run(store, tenant, [each]) for each in run]
        return {name: digest for found in alone for name, digest in found.items()}
    return await asyncio.to_thread(_hash_slices, whole, start, run)


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
