"""Sealing staged content: a completed upload becomes its document."""

from __future__ import annotations

from dataclasses import dataclass

from shared.base.errors import Conflict, Damaged, DigestMismatch, NotFound, TooLarge
from shared.base.events import Event, EventType, VersionData
from shared.base.partitions import partition_of
from shared.documents.models import Description, Document
from shared.documents.sealing import ContentSealer, Incoming, checked_content
from shared.documents.uploads import Uploads
from shared.journal.entries import Action, Actor


@dataclass(slots=True)
class StagedContentSealer:
    """Seals completed uploads.

    Attributes:
        uploads: The uploads.
        sealer: Seals content into the primary store.
    """

    uploads: Uploads
    sealer: ContentSealer

    async def seal(self, event: Event) -> None:
        """Seal a completed upload into its document; the effect of ``upload.completed``.

        It takes effect once, however often the event comes.

        Raises:
            Conflict: Another delivery of the event was first; the next one finds nothing to do.
        """
        uploads, store, journal = self.uploads, self.uploads.store, self.uploads.journal
        tenant = event.tenant
        try:
            stored = await store.upload(tenant, event.subject)
        except NotFound:
            return
        upload = stored.value
        if upload.state != "completed":
            await uploads.staging.delete(upload.object)
            return
        expected = await uploads.descriptions.open(tenant, upload)
        incoming = Incoming(
            tenant,
            upload.document,
            1,
            upload.created_by,
            Description(
                name=expected.name, media_type=expected.media_type, metadata=expected.metadata
            ),
            checked_content(
                uploads.staging.get(upload.object),
                {} if expected.sha512 is None else {"sha512": expected.sha512},
            ),
            expected.size,
            expected.sha256,
        )
        user = Actor(kind="user", id=upload.created_by)
        try:
            version = (await self.sealer.seal(incoming)).version
        except (Damaged, DigestMismatch, NotFound, TooLarge) as error:
            entry = journal.entry(
                Action.UPLOAD_FAIL, upload.id, by=user, tenant=tenant, failed=error.slug
            )
            await uploads.fail(stored, error.slug, entry)
            return
        document = Document(id=upload.document, created_at=version.created_at, current=version)
        sealed = upload.end("sealed")
        entry = journal.entry(
            Action.DOCUMENT_CREATE,
            document.id,
            by=user,
            tenant=tenant,
            details={"version": 1, "size": version.size},
        )
        announced = journal.event(
            EventType.DOCUMENT_SEALED,
            tenant,
            document.id,
            VersionData(version=1),
            event.traceparent,
        )
        await store.months.prepare(partition_of(tenant, document.id))
        try:
            await journal.commit(
                entry,
                [store.create_document(tenant, document), store.uploads.replace(stored, sealed)],
                [announced],
            )
        except Conflict:
            await self.sealer.discard(version)
            raise
        await uploads.staging.delete(upload.object)
