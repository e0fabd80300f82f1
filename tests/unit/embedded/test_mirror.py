"""The mirror of a key vault: what it copies, forgets and gives back."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.adapters.embedded.folders import TEMPORARY_PREFIX
from shared.adapters.embedded.mirror import KeyVaultMirror

pytestmark = pytest.mark.anyio


@pytest.fixture
def mirror(tmp_path: Path) -> KeyVaultMirror:
    (tmp_path / "keys" / "keys").mkdir(parents=True)
    (tmp_path / "keys" / "vault.json").write_text("vault")
    (tmp_path / "keys" / "keys" / "tenant-a.json").write_text("a")
    return KeyVaultMirror(tmp_path / "keys", tmp_path / "backup" / "key-vault")


def files(folder: Path) -> dict[str, str]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_text() for path in found}


async def test_it_follows_the_vault(mirror: KeyVaultMirror) -> None:
    await mirror.update()
    assert files(mirror.mirror) == {"vault.json": "vault", "keys/tenant-a.json": "a"}
    (mirror.vault / "keys" / "tenant-b.json").write_text("b")
    (mirror.vault / "keys" / "tenant-a.json").write_text("a, rotated")
    (mirror.vault / "keys" / f"{TEMPORARY_PREFIX}1.json").write_text("half")
    await mirror.update()
    await mirror.update()
    assert files(mirror.mirror) == {
        "vault.json": "vault",
        "keys/tenant-a.json": "a, rotated",
        "keys/tenant-b.json": "b",
    }
    assert all(path.stat().st_mode & 0o077 == 0 for path in mirror.mirror.rglob("*"))


async def test_it_forgets_a_key_that_was_removed(mirror: KeyVaultMirror) -> None:
    await mirror.update()
    (mirror.vault / "keys" / "tenant-a.json").unlink()
    await mirror.update()
    assert files(mirror.mirror) == {"vault.json": "vault"}


async def test_it_takes_the_place_of_a_vault_that_is_gone_alone(mirror: KeyVaultMirror) -> None:
    assert not mirror.recover()
    await mirror.update()
    assert not mirror.recover()
    kept = files(mirror.vault)
    mirror.vault.rename(mirror.vault.with_name("lost"))
    # An attempt that was interrupted has left a part.
    left = mirror.vault.with_name(TEMPORARY_PREFIX + "keys")
    left.mkdir()
    (left / "other.json").write_text("of another time")
    assert mirror.recover()
    assert files(mirror.vault) == kept
    assert not left.exists()


def test_without_a_mirror_there_is_nothing_to_recover(tmp_path: Path) -> None:
    assert not KeyVaultMirror(tmp_path / "keys", tmp_path / "mirror").recover()
