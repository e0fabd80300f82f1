"""The two copies of a document, and stores that do not respond."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx

from shared.base.errors import Unavailable
from shared.ports.blobs import BlobStore
from standalone.demo.objects import StoredObject
from tests.support.app import App

CONTENT = bytes(range(251)) * 13_000
"""Four segments: the last one is short, and no two places look the same."""


async def copies(app: App, tenant: str, document: str) -> tuple[StoredObject, StoredObject]:
    version = await app.version(tenant, document)
    return app.object("primary", version.object), app.object("replica", version.replica)


async def get(app: App, auth: dict[str, str], document: str, **headers: str) -> httpx.Response:
    return await app.http.get(f"documents/{document}/content", headers=auth | headers)


class Silent:
    """A store that does not answer reads."""

    def __init__(self, store: BlobStore, after: int = 0) -> None:
        self._store = store
        self._after = after

    async def get(
        self, name: str, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        given = 0
        async for piece in self._store.get(name, start=start, end=end):
            if given >= self._after:
                break
            yield piece
            given += len(piece)
        raise Unavailable("The store does not answer.")
