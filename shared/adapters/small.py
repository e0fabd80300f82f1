"""Small objects read whole, for stores that are asked for one at a time."""

from __future__ import annotations

from shared.base.errors import Damaged, NotFound
from shared.ports.blobs import BlobStore


async def read_small(store: BlobStore, name: str, size: int) -> bytes | None:
    """One object's first bytes as ``BlobStore.get_all`` gives them."""
    try:
        return b"".join([piece async for piece in store.get(name, end=size)])
    except (Damaged, NotFound):
        return None
