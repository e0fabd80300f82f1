"""A document changes while something else happens to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.ports.records import Record
from tests.house import House, open_house, problem

pytestmark = pytest.mark.anyio

DISPOSITION = {"Content-Disposition": 'attachment; filename="paper.txt"'}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path / "data") as house:
        yield house


@pytest.fixture
async def auth(house: House) -> dict[str, str]:
    return await house.auth(await house.tenant("acme"))


@pytest.fixture
async def document(house: House, auth: dict[str, str]) -> str:
    """One that is about to be replicated."""
    return str((await house.upload(auth, b"first")).json()["id"])


async def update(
    house: House,
    auth: dict[str, str],
    document: str,
    meanwhile: Callable[[], Awaitable[object]],
) -> httpx.Response:
    """A second version, while whose content arrives something else happens."""

    async def content() -> AsyncIterator[bytes]:
        yield b"sec"
        await meanwhile()
        yield b"ond"

    return await house.http.put(
        f"documents/{document}/content",
        content=content(),
        headers=auth | DISPOSITION | {"If-Match": f'"{document}.1"'},
    )


async def test_a_new_version_does_not_mind_the_replication_of_the_one_before(
    house: House, auth: dict[str, str], document: str
) -> None:
    updated = await update(house, auth, document, house.settle)
    assert updated.status_code == 200, updated.text
    await house.settle()
    for number, content in ((1, b"first"), (2, b"second")):
        opened = await house.http.get(
            f"documents/{document}/content", params={"version": number}, headers=auth
        )
        assert opened.content == content
    assert len(house.stored("vault")) == len(house.stored("replica")) == 2


async def test_a_new_version_gives_way_to_another_and_leaves_nothing(
    house: House, auth: dict[str, str], document: str
) -> None:
    async def another() -> None:
        answer = await house.http.put(
            f"documents/{document}/content",
            content=b"another",
            headers=auth | DISPOSITION | {"If-Match": f'"{document}.1"'},
        )
        assert answer.status_code == 200

    refused = await update(house, auth, document, another)
    assert (refused.status_code, problem(refused)) == (412, "precondition-failed")
    opened = await house.http.get(f"documents/{document}/content", headers=auth)
    assert opened.content == b"another"
    assert len(house.stored("vault")) == 2


async def test_a_new_version_gives_way_to_a_deletion_and_leaves_nothing(
    house: House, auth: dict[str, str], document: str
) -> None:
    async def delete() -> None:
        answer = await house.http.delete(f"documents/{document}", headers=auth)
        assert answer.status_code == 204

    refused = await update(house, auth, document, delete)
    assert (refused.status_code, problem(refused)) == (412, "precondition-failed")
    await house.settle()
    assert house.stored("vault") == house.stored("replica") == []


async def test_a_deletion_does_not_mind_the_replication(
    house: House, auth: dict[str, str], document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = house.services.adapters.records
    get = records.get
    replicated = False

    async def get_and_replicate(tenant: str, kind: str, id: str) -> Record:
        nonlocal replicated
        found = await get(tenant, kind, id)
        if kind == "document" and not replicated:
            replicated = True
            await house.settle()
        return found

    monkeypatch.setattr(records, "get", get_and_replicate)
    deleted: Any = await house.http.delete(f"documents/{document}", headers=auth)
    assert deleted.status_code == 204, deleted.text
    assert replicated
    await house.settle()
    assert house.stored("vault") == house.stored("replica") == []
