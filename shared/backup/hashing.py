"""Reading and hashing what packs hold: neighbours in a pack are read in one request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final

from shared.backup.models import object_name
from shared.backup.state import Location
from shared.base.concurrency import at_once
from shared.base.errors import Damaged, NotFound
from shared.base.streams import hashing
from shared.crypto.sealed_digests import SealedDigest
from shared.ports.write_once import WriteOnceStore

RUN_BYTES: Final = 8 << 20
"""Neighbours up to this size together are read whole."""

GAP: Final = 65_536
"""Bytes between two versions that are read too, in place of a second request."""

READ_AT_ONCE: Final = 4


async def check_packed(
    store: WriteOnceStore,
    tenant: str,
    locations: Iterable[Location],
    sealed: Mapping[str, SealedDigest],
) -> Mapping[str, bool]:
    """Whether each location has what was sealed, by the ids of these; what cannot be read is left out.

    Args:
        store: Where sets are.
        tenant: Whose.
        locations: Of versions.
        sealed: What was sealed, by the ids of the locations.

    Raises:
        Unavailable: The backup store does not respond.
    """

    async def check_run(run: list[Location]) -> Mapping[str, bool]:
        return await _check_run(store, tenant, run, sealed)

    found: dict[str, bool] = {}
    for checked in await at_once(check_run, runs(locations), READ_AT_ONCE):
        found |= checked
    return found


async def read_sound(
    store: WriteOnceStore, tenant: str, run: list[Location], sealed: Mapping[str, SealedDigest]
) -> Sequence[tuple[Location, memoryview]]:
    """The content of the versions of a run, where it is what was sealed; other versions are left out.

    Args:
        store: Where sets are.
        tenant: Whose.
        run: As ``runs`` gave it.
        sealed: By the ids of the locations.

    Raises:
        Unavailable: The backup store does not respond.
    """
    start = run[0].offset
    try:
        whole = await _read_run(store, tenant, run)
    except (Damaged, NotFound):
        return ()
    sound = await asyncio.to_thread(_check_slices, whole, run, sealed)
    view = memoryview(whole)
    return [
        (each, view[each.offset - start : _end(each) - start]) for each in run if sound[each.id]
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


async def _check_run(
    store: WriteOnceStore, tenant: str, run: list[Location], sealed: Mapping[str, SealedDigest]
) -> Mapping[str, bool]:
    try:
        if len(run) == 1:
            check = sealed[run[0].id].check()
            async for _ in hashing(_stream_run(store, tenant, run), check.update):
                pass
            return {run[0].id: check.passed}
        whole = await _read_run(store, tenant, run)
    except NotFound:
        return {}
    except Damaged:
        if len(run) == 1:
            return {}
        alone = [await _check_run(store, tenant, [each], sealed) for each in run]
        return {name: sound for found in alone for name, sound in found.items()}
    return await asyncio.to_thread(_check_slices, whole, run, sealed)


def _stream_run(store: WriteOnceStore, tenant: str, run: list[Location]) -> AsyncIterator[bytes]:
    name = object_name(tenant, "packs", run[0].pack)
    return store.get(name, start=run[0].offset, end=max(_end(each) for each in run))


async def _read_run(store: WriteOnceStore, tenant: str, run: list[Location]) -> bytes:
    return b"".join([piece async for piece in _stream_run(store, tenant, run)])


def _check_slices(
    whole: bytes, run: list[Location], sealed: Mapping[str, SealedDigest]
) -> Mapping[str, bool]:
    view, start = memoryview(whole), run[0].offset
    return {
        each.id: sealed[each.id].matches(view[each.offset - start : _end(each) - start])
        for each in run
    }


def _end(location: Location) -> int:
    return location.offset + location.size
