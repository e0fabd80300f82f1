"""Folder targets: attacks by who can write to the same disk, and what a killed writer leaves."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.adapters.external.targets import ExternalTargets
from shared.base.buffers import Buffer
from shared.base.errors import InvalidInput, NotFound, Unavailable
from shared.ports.clock import Runtime, SystemClock, system_entropy
from shared.ports.targets import TargetAddress, TargetCredentials, TargetStore

pytestmark = pytest.mark.anyio

RUNTIME = Runtime(SystemClock(), system_entropy)


def opened(root: Path | None, tenant: str = "ten_a", prefix: str = "") -> TargetStore:
    address = TargetAddress(kind="folder", bucket="box", prefix=prefix)
    return ExternalTargets(RUNTIME, root).open(tenant, address, TargetCredentials())


async def put(store: TargetStore, name: str, content: bytes = b"content") -> None:
    async def stream() -> AsyncIterator[Buffer]:
        yield content

    await store.put(name, stream(), len(content))


async def get(store: TargetStore, name: str) -> bytes:
    return b"".join([piece async for piece in store.get(name)])


async def names(store: TargetStore) -> list[str]:
    return sorted([info.name async for info in store.list()])


async def test_without_the_operators_setting_there_are_none():
    with pytest.raises(InvalidInput, match="no targets of the kind"):
        opened(None)


@pytest.mark.parametrize("bucket", ["..", ".", "../box", "a/b", "/etc", ".hidden", "a..b", "A", ""])
async def test_no_bucket_leads_out_of_the_tenants_folder(tmp_path, bucket):
    address = TargetAddress.model_construct(kind="folder", bucket=bucket, prefix="")
    with pytest.raises(InvalidInput, match="bucket"):
        ExternalTargets(RUNTIME, tmp_path).open("ten_a", address, TargetCredentials())


@pytest.mark.parametrize(
    "prefix", ["../", "../../ten_b/box/", "a/../", "/", "a", ".a/", "a//", "a b/"]
)
async def test_no_prefix_does(tmp_path, prefix):
    with pytest.raises(InvalidInput, match="prefix"):
        opened(tmp_path, prefix=prefix)


async def test_objects_are_plain_files_that_only_their_owner_reads(tmp_path):
    await put(opened(tmp_path, prefix="Back-ups/of.us/"), "sets/set_1")
    file = tmp_path / "ten_a" / "box" / "Back-ups" / "of.us" / "sets" / "set_1"
    assert file.read_bytes() == b"content"
    assert file.stat().st_mode & 0o777 == 0o600
    for folder in list(file.parents)[:5]:
        assert folder.stat().st_mode & 0o777 == 0o700
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]  # and no draft


async def test_a_tenant_does_not_see_anothers_folder_of_the_same_name(tmp_path):
    await put(opened(tmp_path, "ten_a"), "doc", b"of a")
    await put(opened(tmp_path, "ten_b"), "doc", b"of b")
    assert await get(opened(tmp_path, "ten_a"), "doc") == b"of a"
    await opened(tmp_path, "ten_b").delete("doc")
    assert await names(opened(tmp_path, "ten_a")) == ["doc"]


async def test_a_disk_that_is_not_mounted_is_not_written_to(tmp_path):
    store = opened(tmp_path / "unmounted")
    with pytest.raises(Unavailable, match="STRONGROOM_TARGETS_DIR"):
        await put(store, "doc")
    for reading in (get(store, "doc"), names(store), store.delete("doc")):
        with pytest.raises(Unavailable, match="STRONGROOM_TARGETS_DIR"):
            await reading
    [result] = await store.probe()
    assert (result.step, result.ok) == ("write", False)
    assert "STRONGROOM_TARGETS_DIR" in result.detail
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("level", ["ten_a", "ten_a/box", "ten_a/box/sets"])
async def test_a_folder_that_became_a_link_is_not_followed(tmp_path, level):
    root, elsewhere = tmp_path / "targets", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    store = opened(root)
    await put(store, "sets/doc")
    (root / level).rename(tmp_path / "moved")
    (root / level).symlink_to(elsewhere)
    (elsewhere / "doc").write_bytes(b"another's")
    with pytest.raises(Unavailable):
        await put(store, "sets/doc")
    with pytest.raises((Unavailable, NotFound)):
        await get(store, "sets/doc")
    await store.delete("sets/doc")
    assert [path.name for path in elsewhere.iterdir()] == ["doc"]
    assert (elsewhere / "doc").read_bytes() == b"another's"


async def test_an_object_that_became_a_link_or_a_pipe_is_not_read_and_is_replaced(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"another's")
    store = opened(tmp_path)
    await put(store, "link")
    folder = tmp_path / "ten_a" / "box"
    (folder / "link").unlink()
    (folder / "link").symlink_to(secret)
    os.mkfifo(folder / "pipe")
    with pytest.raises((Unavailable, NotFound)):
        await get(store, "link")
    with pytest.raises(NotFound):
        await get(store, "pipe")
    assert await names(store) == []
    for name in ("link", "pipe"):
        await put(store, name)
        assert await get(store, name) == b"content"
    assert secret.read_bytes() == b"another's"


async def test_files_of_others_are_left_alone(tmp_path):
    store = opened(tmp_path)
    await put(store, "doc")
    folder = tmp_path / "ten_a" / "box"
    for name in ("README.TXT", ".hidden", "a b", "lost+found"):
        (folder / name).write_bytes(b"another's")
    assert await names(store) == ["doc"]
    await put(store, "doc2")
    assert len(list(folder.iterdir())) == 6


async def test_what_killed_writers_left_goes_and_what_is_being_written_stays(tmp_path):
    folder = tmp_path / "ten_a" / "box"
    folder.mkdir(parents=True)
    (folder / ".incoming-dead").write_bytes(b"half")
    with (folder / ".incoming-alive").open("wb") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        store = opened(tmp_path)
        assert await names(store) == []
        await put(store, "doc")
        assert sorted(path.name for path in folder.iterdir()) == [".incoming-alive", "doc"]


async def test_a_name_that_goes_on_where_another_ends_is_refused_and_harms_nothing(tmp_path):
    store = opened(tmp_path)
    await put(store, "a/b")
    for name in ("a", "a/b/c"):
        with pytest.raises(Unavailable):
            await put(store, name)
    assert await names(store) == ["a/b"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "box", "ten_a"]
