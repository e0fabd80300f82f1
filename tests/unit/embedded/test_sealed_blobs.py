"""SealedBlobs: what lies on the disk is sealed, and bound to its name."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.adapters.embedded.blobs import FileBlobs
from shared.adapters.embedded.sealed import SealedBlobs
from shared.base.errors import Damaged
from shared.crypto.streaming import (
    SEGMENT_SIZE,
    sealed_size,
)
from shared.ports.clock import system_entropy
from tests.support.clock import FakeClock
from tests.support.sealing import opened

pytestmark = pytest.mark.anyio

KEY = bytes(range(32))
SECRET = b"the plaintext is nowhere on the disk"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "staging"


@pytest.fixture
def store(root):
    return SealedBlobs(FileBlobs(root, FakeClock()), KEY, system_entropy)


async def stream(*chunks):
    for chunk in chunks:
        yield chunk


async def content(store, name, **part):
    return b"".join([piece async for piece in store.get(name, **part)])


async def test_the_disk_holds_the_documented_format(store, root):
    whole = SECRET * 60_000
    await store.put(
        "ten_a/upl", stream(*(whole[at : at + 65_536] for at in range(0, len(whole), 65_536)))
    )
    stored = (root / "ten_a" / "upl=").read_bytes()
    assert len(stored) == sealed_size(len(whole))
    assert SECRET not in stored
    key = HKDF(SHA256(), 32, salt=None, info=b"ten_a/upl").derive(KEY)
    assert b"".join([bytes(piece) async for piece in opened(key, b"ten_a/upl", stored)]) == whole


async def test_every_object_is_sealed_differently(store, root):
    await store.put("a", stream(SECRET))
    await store.put("b", stream(SECRET))
    assert (root / "a=").read_bytes()[40:] != (root / "b=").read_bytes()[40:]


@pytest.mark.parametrize("size", [0, 100, 3 * SEGMENT_SIZE])
async def test_a_flipped_bit_is_damage(store, root, size):
    await store.put("doc", stream(b"x" * size))
    stored = bytearray((root / "doc=").read_bytes())
    for at in (0, 1, 39, 40, len(stored) // 2, len(stored) - 1):
        changed = stored.copy()
        changed[at] ^= 1
        (root / "doc=").write_bytes(changed)
        with pytest.raises(Damaged):
            await content(store, "doc")


@pytest.mark.parametrize(
    "left", [0, 39, 55, 56, SEGMENT_SIZE, 2 * SEGMENT_SIZE, 2 * SEGMENT_SIZE + 17]
)
async def test_a_truncated_object_is_damage(store, root, left):
    await store.put("doc", stream(b"x" * 3 * SEGMENT_SIZE))
    (root / "doc=").write_bytes((root / "doc=").read_bytes()[:left])
    with pytest.raises(Damaged):
        await content(store, "doc")
    with pytest.raises(Damaged):
        await content(store, "doc", start=max(0, left - 200))


async def test_an_object_that_was_renamed_or_has_another_key_does_not_open(store, root):
    await store.put("doc", stream(SECRET))
    (root / "other=").write_bytes((root / "doc=").read_bytes())
    with pytest.raises(Damaged):
        await content(store, "other")
    stranger = SealedBlobs(FileBlobs(root, FakeClock()), bytes(32), system_entropy)
    with pytest.raises(Damaged):
        await content(stranger, "doc")


async def test_a_range_is_read_without_its_surroundings(store, root):
    whole = bytes(range(256)) * 20_000
    await store.put("doc", stream(whole))
    stored = bytearray((root / "doc=").read_bytes())
    stored[SEGMENT_SIZE // 2] ^= 1
    (root / "doc=").write_bytes(stored)
    start = 2 * SEGMENT_SIZE
    assert await content(store, "doc", start=start, end=start + 10) == whole[start : start + 10]
    with pytest.raises(Damaged):
        await content(store, "doc", start=0, end=1)
