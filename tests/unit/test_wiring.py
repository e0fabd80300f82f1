"""Which adapter stands behind each store of the backups, and where; what a start does to the stores."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from shared.adapters.azure.blobs import AzureBlobs
from shared.adapters.azure.write_once import AzureWriteOnce
from shared.base.errors import Unavailable
from shared.base.topology import load_topology
from shared.ports.clock import Runtime, system_entropy
from shared.wiring.azure import azure_adapters
from shared.wiring.embedded import embedded_adapters
from shared.wiring.services import build
from shared.wiring.settings import AZURE_SERVICES, Settings
from tests.support.app import open_app
from tests.support.clock import FakeClock

pytestmark = pytest.mark.anyio


async def stream(*chunks):
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_backups_lie_in_a_folder_of_their_own(tmp_path: Path, elsewhere: bool) -> None:
    clock = FakeClock()
    folder = tmp_path / "other disk" if elsewhere else tmp_path / "data" / "backup"
    settings = Settings(data_dir=tmp_path / "data", backup_dir=folder if elsewhere else None)
    adapters = embedded_adapters(settings, load_topology(), Runtime(clock, system_entropy))
    date = clock.now().replace(year=2030)
    await adapters.backup.put("ten_a/sets/1", stream(b"a set"), retain_until=date)
    await adapters.backup_keys.put("ten_a/1.1", stream(b"a key page"))
    page = folder / "keys" / "ten_a" / "1.1="
    assert (folder / "sets" / "ten_a" / "sets" / "1=").exists()
    with page.open("rb") as blocks:
        await adapters.backup_keys.delete("ten_a/1.1")
        assert blocks.read() == bytes(len(b"a key page"))
    await adapters.close()


async def test_the_containers_of_backups_are_asked_for_their_environment(monkeypatch) -> None:
    async def environment(store) -> str:
        return f"{store._account}/{store._container_name}"

    for store in (AzureBlobs, AzureWriteOnce):
        monkeypatch.setattr(store, "environment", environment)
    services = {name: f"https://{name.replace('_', '-')}.example.com" for name in AZURE_SERVICES}
    adapters = azure_adapters(
        Settings(profile="azure", **services),  # type: ignore[arg-type]
        load_topology(),
        Runtime(FakeClock(), system_entropy),
    )
    said = await adapters.environments()
    assert len(said) == 6
    assert said["the container backup"] == "https://backup-account-url.example.com/backup"
    assert said["the container backup-keys"] == (
        "https://backup-keys-account-url.example.com/backup-keys"
    )
    await adapters.close()


async def test_a_start_removes_what_dead_writers_left_in_every_store(tmp_path: Path) -> None:
    async with open_app(tmp_path) as app:
        auth = await app.auth(await app.tenant("acme"))
        assert (await app.upload(auth, b"content")).status_code == 201
        await app.settle()
    stores = ["primary", "replica", "staging", *(f"backup/{name}" for name in ("sets", "keys"))]
    left = [tmp_path / store / ".incoming" / "0123" for store in (*stores, "backup/audit")]
    for file in left:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.write_bytes(b"half of a paper")
    async with open_app(tmp_path) as app:
        await app.services.start()
        assert [file for file in left if file.exists()] == []


@pytest.mark.parametrize("failures", [0, 1])
async def test_first_callers_at_once_upgrade_the_stores_one_after_the_other_until_it_is_done(
    tmp_path: Path, failures: int
) -> None:
    runtime = Runtime(FakeClock(), system_entropy)
    settings = Settings(data_dir=tmp_path)
    adapters = embedded_adapters(settings, load_topology(), runtime)
    began, under_way = 0, 0

    async def upgrade() -> None:
        nonlocal began, under_way
        began, under_way = began + 1, under_way + 1
        assert under_way == 1
        for _ in range(10):
            await asyncio.sleep(0)
        under_way -= 1
        if began <= failures:
            raise Unavailable("the store does not respond")

    services = build(settings, runtime.clock, runtime.entropy, replace(adapters, upgrade=upgrade))
    found = await asyncio.gather(*(services.start() for _ in range(3)), return_exceptions=True)
    await services.start()
    assert [type(each) for each in found if each is not None] == [Unavailable] * failures
    assert began == failures + 1
    await services.close()
