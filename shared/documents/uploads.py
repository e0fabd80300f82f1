"""Staged uploads: granted, put into the staging store by the client, completed, sealed by an event."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from shared.access.principal import Principal
from shared.base.errors import Conflict, Damaged, DigestMismatch, NotFound, TooLarge
from shared.base.events import Event, EventType
from shared.base.ids import new_id
from shared.base.models import decode, encode
from shared.crypto.metadata import metadata_associated_data, open_metadata, seal_metadata
from shared.documents.models import Description, Document, Upload
from shared.documents.recording import Recorder
from shared.documents.sealing import ContentSealer, Incoming
from shared.documents.store import UPLOAD_KIND, DocumentRecords, new_document
from shared.journal.entries import Action, Actor, Entry
from shared.journal.idempotency import Idempotency, IdempotencyKey
from shared.journal.journal import Journal
from shared.keys.epochs import EpochKeys
from shared.ports.blobs import BlobStore, UploadGrant
from shared.ports.clock import Clock, Entropy
from shared.ports.records import Change, Create, Record, Replace

GRANT_LIFETIME: Final = timedelta(hours=1)

# How long a client can ask what became of an upload that has ended.
KEPT: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class GrantedUpload:
    """A new upload and the address that takes its content; None if the upload is past taking one."""

    upload: Upload
    grant: UploadGrant | None


def upload_record(tenant: str, upload: Upload) -> Record:
    """How an upload is kept: found by its state until it ends, forgotten a week after."""
    body = upload.model_dump(mode="json")
    if upload.state in {"granted", "completed"}:
        return Record(tenant, UPLOAD_KIND, upload.id, body, index={"state": upload.state})
    return Record(tenant, UPLOAD_KIND, upload.id, body, expires_at=upload.expires_at + KEPT)


class Uploads:
    """Staged uploads of the tenants.

    Args:
        store: Finds the records.
        journal: Commits changes with their audit entries.
        staging: Takes contents from clients.
        sealer: Seals contents into the primary store.
        recorder: Records what was sealed.
        epochs: Keys for the descriptions.
        idempotency: Remembers outcomes of POSTs.
        environment: Bound into the encryption.
        max_bytes: The largest content.
        clock: Time.
        entropy: Randomness.
    """

    def __init__(
        self,
        store: DocumentRecords,
        journal: Journal,
        staging: BlobStore,
        sealer: ContentSealer,
        recorder: Recorder,
        epochs: EpochKeys,
        idempotency: Idempotency,
        environment: str,
        max_bytes: int,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._store = store
        self._journal = journal
        self._staging = staging
        self._sealer = sealer
        self._recorder = recorder
        self._epochs = epochs
        self._idempotency = idempotency
        self._environment = environment
        self._max_bytes = max_bytes
        self._clock = clock
        self._entropy = entropy

    async def create(
        self,
        principal: Principal,
        description: Description,
        size: int,
        sha256: bytes | None,
        key: IdempotencyKey | None,
    ) -> GrantedUpload:
        """Grant an upload of ``size`` bytes.

        Raises:
            IdempotencyKeyReused: The key belongs to another request.
            TooLarge: The content would be larger than allowed.
        """
        if size > self._max_bytes:
            raise TooLarge(f"A staged upload has at most {self._max_bytes} bytes.")
        now = self._clock.now()
        epoch = await self._epochs.current(principal.tenant)
        upload_id = new_id("upl", now, self._entropy)
        kept = description.model_dump(mode="json") | {
            "size": size,
            "sha256": None if sha256 is None else encode(sha256),
        }
        upload = Upload(
            id=upload_id,
            document=new_id("doc", now, self._entropy),
            state="granted",
            object=f"{principal.tenant}/{now:%Y-%m-%d}/{upload_id}",
            epoch=epoch.id,
            description=seal_metadata(
                epoch.key, self._bound_to(principal.tenant, upload_id), kept, self._entropy
            ),
            created_by=principal.user,
            created_at=now,
            expires_at=now + GRANT_LIFETIME,
        )
        entry = self._journal.entry(
            Action.UPLOAD_CREATE, upload.id, by=principal, details={"size": size}
        )
        changes: list[Change] = [
            Create(upload_record(principal.tenant, upload)),
            *self._idempotency.remember(key, kept, upload.id),
        ]
        try:
            await self._journal.commit(entry, changes)
        except Conflict:
            made = await self._idempotency.replayed(key, kept)
            if made is None:
                raise
            upload = await self.read(principal, made)
        if upload.state != "granted":
            return GrantedUpload(upload, None)
        grant = await self._staging.grant_upload(
            upload.object, max_size=size, expires_at=upload.expires_at
        )
        return GrantedUpload(upload, grant)

    async def read(self, principal: Principal, upload: str) -> Upload:
        """What has become of an upload.

        Raises:
            NotFound: There is no such upload.
        """
        found, _ = await self._find(principal, upload)
        await self._journal.commit(self._journal.entry(Action.UPLOAD_READ, upload, by=principal))
        return found

    async def check_granted(self, tenant: str, upload: str) -> None:
        """Refuse a content for an upload that is past taking one.

        Raises:
            Conflict: It was completed, or has ended.
        """
        try:
            found, _ = await self._store.upload(tenant, upload)
        except NotFound:
            found = None
        if found is None or found.state != "granted":
            raise Conflict("The upload takes no more content; begin a new one.")

    async def complete(self, principal: Principal, upload: str) -> Upload:
        """The client has put the content: have it sealed. Saying so twice is the same as once.

        Raises:
            Conflict: The content has not arrived or not as many bytes as granted, or the upload has
                failed.
            NotFound: There is no such upload.
        """
        found, record = await self._find(principal, upload)
        if found.state in {"completed", "sealed"}:
            return found
        if found.state == "failed":
            raise Conflict("The upload has failed; begin a new one.")
        await self._check_arrived(principal.tenant, found)
        completed = found.model_copy(update={"state": "completed"})
        event = self._journal.event(
            EventType.UPLOAD_COMPLETED,
            principal.tenant,
            upload,
            traceparent=principal.origin.traceparent,
        )
        entry = self._journal.entry(Action.UPLOAD_COMPLETE, upload, by=principal)
        try:
            await self._journal.commit(
                entry, [_replaced(record, principal.tenant, completed)], [event]
            )
        except Conflict:
            found, _ = await self._find(principal, upload)
            if found.state not in {"completed", "sealed"}:
                raise
            return found  # the same was said at the same time
        return completed

    async def cancel(self, principal: Principal, upload: str) -> None:
        """Give up an upload that is not completed; what has arrived is removed.

        Raises:
            Conflict: The upload is completed: delete its document instead.
            NotFound: There is no such upload.
        """
        found, record = await self._find(principal, upload)
        if found.state in {"completed", "sealed"}:
            raise Conflict("The upload is completed; delete its document instead.")
        if found.state == "granted":
            entry = self._journal.entry(Action.UPLOAD_CANCEL, upload, by=principal)
            await self._end(principal.tenant, record, found, "cancelled", entry)

    async def seal(self, event: Event) -> None:
        """Seal a completed upload into its document; the effect of ``upload.completed``.

        It takes effect once, however often the event comes.

        Raises:
            Conflict: Another delivery of the event got there first; the next one finds nothing to do.
        """
        tenant = event.tenant
        try:
            upload, record = await self._store.upload(tenant, event.subject)
        except NotFound:
            return
        if upload.state != "completed":
            await self._staging.delete(upload.object)
            return
        kept = await self._kept(tenant, upload)
        size, sha256 = kept.pop("size"), kept.pop("sha256")
        incoming = Incoming(
            tenant,
            upload.document,
            1,
            upload.created_by,
            Description.model_validate(kept),
            self._staging.get(upload.object),
            size,
            None if sha256 is None else decode(sha256),
        )
        user = Actor(kind="user", id=upload.created_by)
        try:
            version, _ = await self._sealer.seal(incoming)
        except (Damaged, DigestMismatch, NotFound, TooLarge) as error:
            entry = self._journal.entry(
                Action.UPLOAD_FAIL, upload.id, by=user, tenant=tenant, failed=error.slug
            )
            await self._end(tenant, record, upload, error.slug, entry)
            return
        document = Document(id=upload.document, created_at=version.created_at, current=version)
        sealed = upload.model_copy(update={"state": "sealed"})
        entry = self._journal.entry(
            Action.DOCUMENT_CREATE,
            document.id,
            by=user,
            tenant=tenant,
            details={"version": 1, "size": version.size},
        )
        changes = [new_document(tenant, document), _replaced(record, tenant, sealed)]
        try:
            await self._recorder.record(entry, version, changes, event.traceparent)
        except Conflict:
            await self._recorder.discard(version)
            raise
        await self._staging.delete(upload.object)

    async def expire(self, record: Record) -> bool:
        """End a granted upload whose grant is over; return whether it was."""
        upload = Upload.model_validate(record.body)
        if upload.state != "granted" or upload.expires_at > self._clock.now():
            return False
        entry = self._journal.entry(Action.UPLOAD_EXPIRE, upload.id, tenant=record.tenant)
        try:
            await self._end(record.tenant, record, upload, "expired", entry)
        except Conflict:
            return False  # it was completed in time after all
        return True

    async def _end(
        self, tenant: str, record: Record, upload: Upload, failure: str, entry: Entry
    ) -> None:
        failed = upload.model_copy(update={"state": "failed", "failure": failure})
        await self._journal.commit(entry, [_replaced(record, tenant, failed)])
        await self._staging.delete(upload.object)

    async def _find(self, principal: Principal, upload: str) -> tuple[Upload, Record]:
        try:
            return await self._store.upload(principal.tenant, upload)
        except NotFound:
            raise NotFound("There is no such upload in your tenant.") from None

    async def _check_arrived(self, tenant: str, upload: Upload) -> None:
        try:
            arrived = await self._staging.head(upload.object)
        except NotFound:
            raise Conflict(
                "The content has not arrived; put it to the upload's URL first."
            ) from None
        granted = (await self._kept(tenant, upload))["size"]
        if arrived.size != granted:
            raise Conflict(
                f"The content that arrived has {arrived.size} bytes, not {granted};"
                " cancel this upload and begin a new one."
            )

    async def _kept(self, tenant: str, upload: Upload) -> dict[str, Any]:
        """What the client said of the content."""
        epoch = await self._epochs.of(tenant, upload.epoch)
        return open_metadata(epoch.key, self._bound_to(tenant, upload.id), upload.description)

    def _bound_to(self, tenant: str, upload: str) -> bytes:
        return metadata_associated_data(self._environment, tenant, "upload", upload)


def _replaced(record: Record, tenant: str, upload: Upload) -> Change:
    return Replace(replace(upload_record(tenant, upload), etag=record.etag))
