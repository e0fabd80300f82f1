"""A document changes while something else happens to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from shared.base.partitions import Partition
from shared.ports.records import Record
from tests.support.app import App, open_app, problem

pytestmark = pytest.mark.anyio

DISPOSITION = {"Content-Disposition": 'attachment; filename="paper.txt"'}


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with open_app(tmp_path / "data") as app:
        yield app


@pytest.fixture
async def auth(app: App) -> dict[str, str]:
    return await app.auth(await app.tenant("acme"))


@pytest.fixture
async def document(app: App, auth: dict[str, str]) -> str:
    """One that is about to be replicated."""
    return str((await app.upload(auth, b"first")).json()["id"])


async def update(
    app: App,
    auth: dict[str, str],
    document: str,
    meanwhile: Callable[[], Awaitable[object]],
) -> httpx.Response:
    """A second version, while whose content arrives something else happens."""

    etag = await app.etag(auth, document)

    async def content() -> AsyncIterator[bytes]:
        yield b"sec"
        await meanwhile()
        yield b"ond"

    return await app.http.put(
        f"documents/{document}/content",
        content=content(),
        headers=auth | DISPOSITION | {"If-Match": etag},
    )


async def test_a_new_version_does_not_mind_the_replication_of_the_one_before(
    app: App, auth: dict[str, str], document: str
) -> None:
    updated = await update(app, auth, document, app.settle)
    assert updated.status_code == 200, updated.text
    await app.settle()
    for number, content in ((1, b"first"), (2, b"second")):
        opened = await app.http.get(
            f"documents/{document}/content", params={"version": number}, headers=auth
        )
        assert opened.content == content
    assert len(app.stored("primary")) == len(app.stored("replica")) == 2


async def test_a_new_version_gives_way_to_another_and_leaves_nothing(
    app: App, auth: dict[str, str], document: str
) -> None:
    async def another() -> None:
        answer = await app.http.put(
            f"documents/{document}/content",
            content=b"another",
            headers=auth | DISPOSITION | {"If-Match": await app.etag(auth, document)},
        )
        assert answer.status_code == 200

    refused = await update(app, auth, document, another)
    assert (refused.status_code, problem(refused)) == (412, "precondition-failed")
    opened = await app.http.get(f"documents/{document}/content", headers=auth)
    assert opened.content == b"another"
    assert len(app.stored("primary")) == 2


async def test_a_new_version_gives_way_to_a_deletion_and_leaves_nothing(
    app: App, auth: dict[str, str], document: str
) -> None:
    refused = await update(app, auth, document, lambda: app.erase(auth, document))
    assert (refused.status_code, problem(refused)) == (412, "precondition-failed")
    await app.settle()
    assert app.stored("primary") == app.stored("replica") == []


async def test_a_deletion_does_not_mind_the_replication(
    app: App, auth: dict[str, str], document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = app.services.adapters.records
    get = records.get
    replicated = False

    async def get_and_replicate(partition: Partition, kind: str, id: str) -> Record:
        nonlocal replicated
        found = await get(partition, kind, id)
        if kind == "document" and not replicated:
            replicated = True
            await app.settle()
        return found

    monkeypatch.setattr(records, "get", get_and_replicate)
    await app.erase(auth, document)
    assert replicated
    await app.settle()
    assert app.stored("primary") == app.stored("replica") == []
