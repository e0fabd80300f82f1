"""FileKeyVault: what lies on the disk, and what happens when it is not what was written."""

from __future__ import annotations

import json
import os
import stat

import pytest

from shared.adapters.embedded.folders import write_private_file
from shared.adapters.embedded.keys import FileKeyVault
from shared.adapters.embedded.roots import Passphrase, RootKeyFile
from shared.base.errors import Conflict, Damaged, NotFound, Unavailable
from shared.ports.clock import system_entropy
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio

DIGEST = bytes(32)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "keys" / "vault"


@pytest.fixture
def root_file(tmp_path):
    return tmp_path / "keys" / "root.key"


def opened(folder, source):
    return FileKeyVault(folder, source, FakeClock(), system_entropy)


@pytest.fixture
def vault(folder, root_file):
    return opened(folder, RootKeyFile(root_file))


async def test_files_and_folders_are_private(vault, tmp_path):
    await vault.create("log", "sign")
    paths = (tmp_path / "keys").rglob("*")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in paths}
    assert modes == {
        "root.key": 0o600,
        "vault": 0o700,
        "vault.json": 0o600,
        "keys": 0o700,
        "log.json": 0o600,
    }


async def test_a_pipe_in_place_of_a_key_is_not_waited_for(vault, folder):
    await vault.create("log", "sign")
    path = folder / "keys/log.json"
    path.unlink()
    os.mkfifo(path)
    # With a writer, or a reader that waited for one would hang, and the test with it.
    writer = os.open(path, os.O_RDWR)
    os.write(writer, b"{}")
    with pytest.raises(Unavailable):
        await vault.sign("log", DIGEST)
    with pytest.raises(Unavailable):
        await vault.create("log", "sign")
    os.close(writer)


async def test_a_destroyed_key_is_no_longer_in_its_file(vault, folder):
    await vault.create("log", "sign")
    await vault.rotate("log")
    sealed = [
        version["sealed"]
        for version in json.loads((folder / "keys/log.json").read_text())["versions"]
    ]
    assert len(sealed) == 2
    await vault.destroy("log")
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert not any(text.encode() in everything for text in sealed)
    assert json.loads((folder / "keys/log.json").read_text())["versions"] == []


@pytest.mark.parametrize("step", ["fsync", "replace"])
async def test_a_write_that_fails_leaves_the_old_keys(vault, folder, monkeypatch, step):
    version = await vault.create("log", "sign")

    def refused(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync") if step == "fsync" else ("pathlib.Path.replace",)), refused)
        with pytest.raises(Unavailable):
            await vault.rotate("log")
    assert (await vault.sign("log", DIGEST)).version == version
    assert sorted(path.name for path in (folder / "keys").iterdir()) == ["log.json"]


async def test_files_are_durable_before_they_count(vault, folder, monkeypatch):
    await vault.create("log", "sign")
    steps = []
    fsync, replace = os.fsync, type(folder).replace

    def noted_fsync(descriptor):
        fsync(descriptor)
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")

    def noted_replace(path, target):
        steps.append("replace")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(type(folder), "replace", noted_replace)
    await vault.rotate("log")
    assert steps == ["file", "replace", "folder"]


async def test_leftovers_of_a_dead_writer_go(vault, folder, root_file):
    await vault.create("log", "sign")
    (folder / "keys" / ".new-torn").write_bytes(b'{"format": 1, "na')
    again = opened(folder, RootKeyFile(root_file))
    await again.sign("log", DIGEST)
    assert sorted(path.name for path in (folder / "keys").iterdir()) == ["log.json"]


async def test_a_passphrase_opens_the_vault_again_and_another_one_does_not(folder):
    first = opened(folder, Passphrase("correct horse battery staple"))
    await first.create("log", "sign")
    again = opened(folder, Passphrase("correct horse battery staple"))
    await again.sign("log", DIGEST)
    assert again.derive("staging") == first.derive("staging")
    wrong = opened(folder, Passphrase("correct horse battery stable"))
    with pytest.raises(Unavailable, match="is not the one that this key vault was made with"):
        await wrong.sign("log", DIGEST)
    with pytest.raises(Unavailable):
        wrong.derive("staging")
    with pytest.raises(Unavailable):
        await wrong.create("other", "sign")
    assert not (folder / "keys" / "other.json").exists()
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"correct horse" not in everything


async def test_the_kinds_of_root_are_not_mixed_up(tmp_path, root_file):
    by_file, by_passphrase = tmp_path / "a", tmp_path / "b"
    await opened(by_file, RootKeyFile(root_file)).create("log", "sign")
    await opened(by_passphrase, Passphrase("a passphrase")).create("log", "sign")
    with pytest.raises(Unavailable, match="STRONGROOM_ROOT_KEY_FILE"):
        await opened(by_file, Passphrase("a passphrase")).sign("log", DIGEST)
    with pytest.raises(Unavailable, match="STRONGROOM_KEY_PASSPHRASE"):
        await opened(by_passphrase, RootKeyFile(root_file)).sign("log", DIGEST)


async def test_a_root_key_file_that_is_missing_short_or_another_is_noticed(
    vault, folder, root_file
):
    await vault.create("log", "sign")
    for content in (None, b"", b"short", bytes(32)):
        root_file.unlink(missing_ok=True)
        if content is not None:
            write_private_file(root_file, content)
        with pytest.raises(Unavailable) as refused:
            await opened(folder, RootKeyFile(root_file)).sign("log", DIGEST)
        assert f"{root_file} (setting STRONGROOM_ROOT_KEY_FILE)" in refused.value.detail
    assert root_file.read_bytes() == bytes(32)


async def test_a_root_key_file_of_the_operators_own_is_used(folder, root_file):
    root_file.parent.mkdir()
    write_private_file(root_file, bytes(range(32)))
    first = opened(folder, RootKeyFile(root_file)).derive("staging")
    assert root_file.read_bytes() == bytes(range(32))
    assert first == opened(folder, RootKeyFile(root_file)).derive("staging")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o777])
async def test_a_root_key_that_others_can_read_is_not_used(folder, root_file, mode):
    opened(folder, RootKeyFile(root_file)).derive("staging")
    root_file.chmod(mode)
    with pytest.raises(Unavailable) as refused:
        opened(folder, RootKeyFile(root_file)).derive("staging")
    assert f"run: chmod 600 {root_file}" in refused.value.detail
    root_file.chmod(0o400)
    opened(folder, RootKeyFile(root_file)).derive("staging")


async def test_a_root_key_file_that_is_a_folder_is_named(folder, tmp_path):
    with pytest.raises(Unavailable) as refused:
        opened(folder, RootKeyFile(tmp_path)).derive("staging")
    expected = f"Cannot read the root key file {tmp_path} (setting STRONGROOM_ROOT_KEY_FILE)"
    assert refused.value.detail.startswith(expected)


async def test_a_root_key_file_that_cannot_be_made_is_named(folder, tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "root.key"
    with pytest.raises(Unavailable) as refused:
        opened(folder, RootKeyFile(path)).derive("staging")
    assert f"{path} (setting STRONGROOM_ROOT_KEY_FILE)" in refused.value.detail


async def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match=str(tmp_path / "file" / "vault")):
        opened(tmp_path / "file" / "vault", RootKeyFile(tmp_path / "root.key")).derive("staging")


async def test_derived_keys_differ_by_purpose_and_vault(vault, tmp_path):
    other = opened(tmp_path / "other", RootKeyFile(tmp_path / "other.key"))
    keys = {vault.derive("staging"), vault.derive("grants"), other.derive("staging")}
    assert len(keys) == 3
    assert {len(key) for key in keys} == {32}


async def test_a_damaged_key_file_is_damage(vault, folder):
    await vault.create("log", "sign")
    path = folder / "keys" / "log.json"
    good = json.loads(path.read_text())
    sealed = good["versions"][0]["sealed"]
    for changes in (
        {"use": "wrap"},
        {"use": "other"},
        {"name": "other"},
        {"format": 2},
        {"extra": 1},
        {"versions": [{**good["versions"][0], "version": "0" * 32}]},
        {"versions": [{**good["versions"][0], "sealed": "AAAA" + sealed[4:]}]},
        {"versions": [{**good["versions"][0], "sealed": ""}]},
    ):
        path.write_text(json.dumps(good | changes))
        with pytest.raises(Damaged):
            await vault.sign("log", DIGEST)
    for content in (b"", b"{", b"\xff", path.read_bytes()[:-20]):
        path.write_bytes(content)
        with pytest.raises(Damaged):
            await vault.sign("log", DIGEST)
        with pytest.raises(Damaged):
            await vault.create("log", "sign")
    path.write_text(json.dumps(good))
    await vault.sign("log", DIGEST)


async def test_a_key_file_under_another_name_is_damage(vault, folder):
    await vault.create("log", "sign")
    (folder / "keys" / "other.json").write_bytes((folder / "keys" / "log.json").read_bytes())
    with pytest.raises(Damaged):
        await vault.sign("other", DIGEST)
    with pytest.raises(Damaged):
        await vault.rotate("other")


async def test_a_vault_without_its_own_file_is_damaged_not_new(vault, folder, root_file):
    await vault.create("log", "sign")
    (folder / "vault.json").unlink()
    with pytest.raises(Damaged):
        await opened(folder, RootKeyFile(root_file)).create("log", "sign")


async def test_two_processes_may_share_a_vault(vault, folder, root_file):
    other = opened(folder, RootKeyFile(root_file))
    version = await vault.create("log", "sign")
    assert await other.create("log", "sign") == version
    assert (await vault.sign("log", DIGEST)).version == version
    rotated = await other.rotate("log")
    assert (await vault.sign("log", DIGEST)).version == rotated
    await other.destroy("log")
    with pytest.raises(NotFound):
        await vault.sign("log", DIGEST)
    with pytest.raises(Conflict):
        await vault.create("log", "sign")
