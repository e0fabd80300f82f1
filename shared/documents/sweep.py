"""The upload sweep: what was begun and not finished is removed.

Three things can be left behind: a granted upload that nobody completed, a staged object whose upload
has ended, and a sealed object whose commit never came because its process died in between.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shared.base.errors import Conflict, NotFound
from shared.documents.models import Upload
from shared.documents.store import UPLOAD_KIND, DocumentRecords
from shared.documents.uploads import Uploads
from shared.identity.tenants import TENANT_KIND
from shared.ports.blobs import BlobInfo, BlobStore
from shared.ports.clock import Clock
from shared.ports.records import DIRECTORY, Create, Record, RecordStore, Replace

BOOKMARK_KIND: Final = "sweep"
BOOKMARK_ID: Final = "bookmark"
PAGE: Final = 200

# An upload of the largest size on a slow line is over by then.
GRACE: Final = timedelta(hours=6)

# As ``object_name`` makes them.
_OBJECT: Final = re.compile(r".*/(?P<document>doc_[0-9a-z]{26})\.(?P<number>[0-9]+)\.[0-9a-f]{16}")

_log = logging.getLogger("strongroom.sweep")


class Sweep:
    """Finds and removes what was left behind.

    Args:
        records: The record store.
        store: Finds documents, versions and uploads.
        uploads: Ends uploads.
        primary: Sealed objects.
        replica: Sealed objects in the second region.
        staging: Staged objects.
        clock: Time.
    """

    def __init__(
        self,
        records: RecordStore,
        store: DocumentRecords,
        uploads: Uploads,
        primary: BlobStore,
        replica: BlobStore,
        staging: BlobStore,
        clock: Clock,
    ) -> None:
        self._records = records
        self._store = store
        self._uploads = uploads
        self._primary = primary
        self._replica = replica
        self._staging = staging
        self._clock = clock

    async def run(self) -> None:
        """One sweep. Each object is looked at once in its life, so the cost follows the uploads."""
        await self._expire_uploads()
        bookmark = await self._bookmark()
        since = datetime.fromisoformat(bookmark.body["until"])
        until = self._clock.now() - GRACE
        removed = 0
        cursor: str | None = None
        while True:
            page = await self._records.query(
                TENANT_KIND, tenant=DIRECTORY, limit=PAGE, cursor=cursor
            )
            for record in page.records:
                removed += await self._sweep_tenant(record.id, since, until)
            cursor = page.cursor
            if cursor is None:
                break
        await self._move(bookmark, until)
        if removed:
            _log.info("removed %d objects that no record names", removed)

    async def _expire_uploads(self) -> None:
        cursor: str | None = None
        while True:
            page = await self._records.query(
                UPLOAD_KIND, tenant=None, where={"state": "granted"}, limit=PAGE, cursor=cursor
            )
            for record in page.records:
                if Upload.model_validate(record.body).expires_at > self._clock.now():
                    # They are in the order of their creation, and all last equally long.
                    return
                await self._uploads.expire(record)
            cursor = page.cursor
            if cursor is None:
                return

    async def _sweep_tenant(self, tenant: str, since: datetime, until: datetime) -> int:
        removed = 0
        day = since.date() - timedelta(days=1)
        while day <= until.date():
            prefix = f"{tenant}/{day:%Y-%m-%d}/"
            for store in (self._primary, self._replica):
                async for blob in store.list(prefix):
                    if since <= blob.modified_at < until and not await self._named(tenant, blob):
                        await store.delete(blob.name)
                        removed += 1
            async for blob in self._staging.list(prefix):
                if since <= blob.modified_at < until and not await self._awaited(tenant, blob):
                    await self._staging.delete(blob.name)
                    removed += 1
            day += timedelta(days=1)
        return removed

    async def _named(self, tenant: str, blob: BlobInfo) -> bool:
        """Whether a version names this object as its own, in the primary store or as its replica."""
        form = _OBJECT.fullmatch(blob.name)
        if form is None:
            return False  # nothing of ours has such a name, so no record can hold it
        try:
            stored = await self._store.document(tenant, form["document"])
            version = (await self._store.version(stored, int(form["number"]))).version
        except NotFound:
            return False
        return blob.name in {version.object, version.replica}

    async def _awaited(self, tenant: str, blob: BlobInfo) -> bool:
        """Whether an upload that has not ended names this object."""
        try:
            upload, _ = await self._store.upload(tenant, blob.name.rsplit("/", 1)[1])
        except NotFound:
            return False
        return upload.state in {"granted", "completed"}

    async def _bookmark(self) -> Record:
        try:
            return await self._records.get(DIRECTORY, BOOKMARK_KIND, BOOKMARK_ID)
        except NotFound:
            first = self._clock.now() - GRACE - timedelta(days=2)
            return Record(DIRECTORY, BOOKMARK_KIND, BOOKMARK_ID, {"until": first.isoformat()})

    async def _move(self, bookmark: Record, until: datetime) -> None:
        moved = replace(bookmark, body={"until": until.isoformat()})
        try:
            await self._records.commit(
                DIRECTORY, [Replace(moved) if bookmark.etag else Create(moved)]
            )
        except Conflict:
            return  # another sweep ran at the same time and saw the same objects
