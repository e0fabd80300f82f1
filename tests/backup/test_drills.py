"""Drills: what they find, and that they leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.base.errors import Unavailable
from shared.base.partitions import Partition
from shared.restore.drills import DrillReport, drills_of
from tests.support.backups import BackedUp
from tests.support.records import find_records

pytestmark = pytest.mark.anyio


async def drill(backed_up: BackedUp) -> DrillReport:
    """Let the next drill run; the tenant's report."""
    backed_up.app.clock.advance(31 * 86_400)
    await backed_up.backups.drills.run()
    reports = drills_of(backed_up.app.services.adapters.records)
    page = await reports.page(Partition(backed_up.tenant), order="descending", limit=1)
    return page.items[0].value


async def test_a_drill_restores_everything_and_finds_it_equal(
    backed_up: BackedUp, tmp_path: Path
) -> None:
    document = await backed_up.upload(b"first")
    await backed_up.update(document, b"second")
    await backed_up.upload(b"another")
    await backed_up.back_up()
    await backed_up.back_up()
    before = len(list(find_records(tmp_path / "data", "document", "version")))
    objects = backed_up.app.stored("primary")

    report = await drill(backed_up)
    assert report.outcome == "passed"
    assert (report.documents, report.versions, report.differences) == (2, 3, 0)
    assert report.records > 0
    assert len(list(find_records(tmp_path / "data", "document", "version"))) == before
    assert backed_up.app.stored("primary") == objects
    await backed_up.app.settle()
    assert "restore.drill" in await backed_up.app.actions(backed_up.tenant)
    auth = await backed_up.app.auth(backed_up.tenant)
    shown = (await backed_up.app.http.get("backups/report", headers=auth)).json()["last_drill"]
    assert (shown["id"], shown["outcome"], shown["versions"]) == (report.id, "passed", 3)


async def test_a_drill_finds_a_pack_that_is_damaged(backed_up: BackedUp, tmp_path: Path) -> None:
    await backed_up.upload(b"content")
    await backed_up.back_up()
    [pack] = (tmp_path / "data" / "backup" / "sets" / backed_up.tenant / "packs").glob("*=")
    pack.chmod(0o600)
    pack.write_bytes(bytes(pack.stat().st_size))
    report = await drill(backed_up)
    assert report.outcome == "failed"
    assert [each.problem for each in report.problems] == ["damaged"]


async def test_a_drill_finds_a_record_that_was_changed_behind_the_service(
    backed_up: BackedUp,
) -> None:
    document = await backed_up.upload(b"content")
    await backed_up.back_up()
    store = backed_up.app.services.reader.store
    stored = await store.document(backed_up.tenant, document)
    changed = stored.current.model_copy(update={"names": b"other names"})
    replaced = stored.document.model_copy(update={"current": changed})
    await store.records.commit(stored.stored.partition, [store.replace_document(stored, replaced)])
    report = await drill(backed_up)
    assert (report.outcome, report.differences) == ("failed", 1)


async def test_a_drill_that_cannot_read_a_store_is_tried_again(
    backed_up: BackedUp, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await backed_up.upload(b"content")
    await backed_up.back_up()
    store = type(backed_up.backups.reader.store)

    def silent(*_: object, **__: object) -> None:
        raise Unavailable("The store does not respond.")

    monkeypatch.setattr(store, "get", silent)
    backed_up.app.clock.advance(31 * 86_400)
    assert await backed_up.backups.drills.run() == 0
    assert "drill.failed" not in caplog.text
    monkeypatch.undo()
    assert await backed_up.backups.drills.run() == 2  # the tenant's and the operator's
