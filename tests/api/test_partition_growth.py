"""What the partition of a month keeps: Cosmos DB closes one at 20 GB."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from shared.base.partitions import partition_of
from tests.support.app import App

pytestmark = pytest.mark.anyio

PAPER = b"a paper"


@pytest.fixture
async def document(app: App, auth: dict[str, str]) -> str:
    created = await app.upload(auth, PAPER)
    await app.settle()
    return str(created.json()["id"])


def held(app: App, tenant: str, document: str) -> int:
    """Bytes in the partition of a document's month."""
    partition = str(partition_of(tenant, document))
    sql = "SELECT sum(length(id) + length(body)) FROM records WHERE partition = ?"
    with closing(sqlite3.connect(app.data / "records.db")) as database:
        (size,) = database.execute(sql, (partition,)).fetchone()
    return int(size or 0)


async def test_opening_a_document_leaves_nothing_in_its_month(
    app: App, auth: dict[str, str], alpha: str, document: str
) -> None:
    before = held(app, alpha, document)
    assert before > 0
    for _ in range(3):
        opened = await app.http.get(f"documents/{document}/content", headers=auth)
        assert opened.content == PAPER
    assert held(app, alpha, document) > before, "the entries are committed there first"
    await app.settle()
    assert held(app, alpha, document) == before


async def test_erasing_a_document_makes_its_month_smaller(
    app: App, auth: dict[str, str], alpha: str, document: str
) -> None:
    before = held(app, alpha, document)
    await app.erase(auth, document)
    await app.settle()
    assert held(app, alpha, document) < before
