"""Staged uploads: granted, put into the staging store by the client, completed or cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from shared.access.principal import Origin, Principal
from shared.base.buffers import Buffer
from shared.base.errors import Conflict, InvalidInput, NotFound, StrongroomError, TooLarge
from shared.base.events import EventType
from shared.base.ids import created_at
from shared.base.partitions import OPERATOR, partition_of
from shared.documents.arriving import Arriving
from shared.documents.descriptions import ExpectedContent, UploadDescriptions
from shared.documents.models import Description, Upload
from shared.documents.naming import staged_name
from shared.documents.store import DocumentRecords
from shared.documents.timing import GRANT_LIFETIME
from shared.journal.collections import Stored
from shared.journal.entries import ANONYMOUS, Action, Entry
from shared.journal.idempotency import Idempotency, IdempotencyKey
from shared.journal.journal import Journal
from shared.ports.blobs import BlobStore, UploadGrant
from shared.ports.clock import Runtime
from shared.ports.records import Change

_NO_MORE_CONTENT = "The upload takes no more content; begin a new one."


@dataclass(frozen=True, slots=True)
class GrantedUpload:
    """An upload and the URL that takes its content; no grant once that has expired."""

    upload: Upload
    grant: UploadGrant | None


@dataclass(slots=True)
class Uploads:
    """Staged uploads of the tenants, as clients see them.

    Attributes:
        store: Finds and changes the records.
        journal: Commits changes with their audit entries.
        staging: Takes content from clients.
        descriptions: Seals what clients say about the content.
        idempotency: Remembers outcomes of POSTs.
        runtime: Time and randomness.
        max_bytes: The largest content.
    """

    store: DocumentRecords
    journal: Journal
    staging: BlobStore
    descriptions: UploadDescriptions
    idempotency: Idempotency
    runtime: Runtime
    max_bytes: int

    async def create(
        self,
        principal: Principal,
        description: Description,
        size: int,
        sha256: bytes | None,
        key: IdempotencyKey | None,
        *,
        sha512: bytes | None = None,
    ) -> GrantedUpload:
        """Grant an upload of ``size`` bytes, whose content must have the digests that are given.

        Raises:
            IdempotencyKeyReused: The key belongs to a different request.
            TooLarge: The content would be larger than allowed.
        """
        if size > self.max_bytes:
            raise TooLarge(f"A staged upload has at most {self.max_bytes} bytes.")
        tenant = principal.tenant
        upload_id = await self.idempotency.reserve(key, self.runtime.new_id("upl"))
        partition = partition_of(tenant, upload_id)
        granted_at = self.runtime.now()
        expected = ExpectedContent(
            **description.model_dump(), size=size, sha256=sha256, sha512=sha512
        )
        sealed = await self.descriptions.seal(tenant, upload_id, expected)
        upload = Upload(
            id=upload_id,
            # Of the upload's month, so that sealing changes both in one commit.
            document=self.runtime.new_id("doc", created_at(upload_id)),
            state="granted",
            object=staged_name(tenant, granted_at, upload_id),
            epoch=sealed.epoch,
            description=sealed.sealed,
            created_by=principal.user,
            created_at=granted_at,
            expires_at=granted_at + GRANT_LIFETIME,
        )
        entry = self.journal.entry(
            Action.UPLOAD_CREATE, upload.id, by=principal, details={"size": size}
        )
        # Without what earlier releases did not know, so that a request repeated over an upgrade is one.
        unknown = {"sha512"} if sha512 is None else None
        request = expected.model_dump(mode="json", exclude=unknown)
        changes: list[Change] = [
            self.store.uploads.create(partition, upload),
            *self.idempotency.remember(key, request, upload.id, partition),
        ]
        await self.store.prepare_upload(partition, upload.expires_at)
        try:
            await self.journal.commit(entry, changes)
        except Conflict:
            made = await self.idempotency.replayed(key, request, partition)
            if made is None:
                raise
            upload = await self.read(principal, made)
            if upload.expires_at <= self.runtime.now():
                return GrantedUpload(upload, None)
            # A repeated request is answered like the first; what came of the upload is for GET to say.
            upload = upload.model_copy(update={"state": "granted", "failure": ""})
        grant = await self.staging.grant_upload(
            upload.object, max_size=size, expires_at=upload.expires_at
        )
        return GrantedUpload(upload, grant)

    async def read(self, principal: Principal, upload: str) -> Upload:
        """The state of an upload.

        Raises:
            NotFound: There is no such upload.
        """
        found = (await self.store.upload(principal.tenant, upload)).value
        await self._record_read(principal, upload)
        return found

    async def receive(
        self, name: str, max_size: int, content: AsyncIterator[Buffer], origin: Origin
    ) -> None:
        """Put the content of an upload into staging, for a server that takes it itself.

        The same content may come again while the upload takes content: a client whose connection was
        lost cannot know that it arrived.

        Args:
            name: Of the staged object, as the grant has it.
            max_size: Bytes that the grant allows, all of which must come.
            content: What the client sends.
            origin: Where the request came from.

        Raises:
            Conflict: The upload takes no more content, or has other content already; nothing was kept.
            InvalidInput: The content is smaller than granted; nothing was kept.
            TooLarge: The content is larger than granted; nothing was kept.
        """
        tenant, upload = name.partition("/")[0], name.rpartition("/")[2]
        try:
            # What was sealed is removed from staging, so that its name alone would be free again.
            await self._check_granted(tenant, upload)
            arriving = Arriving(content, max_size)
            try:
                await self.staging.put(name, arriving.whole())
            except Conflict:
                if not await self._is_staged(name, arriving):
                    raise
            try:
                await self._check_granted(tenant, upload)
            except Conflict:
                # It was cancelled, or has expired, while the content arrived.
                await self.staging.delete(name)
                raise
        except StrongroomError as error:
            await self.record_refusal(error, origin, tenant, upload)
            raise
        received = self.journal.entry(
            Action.UPLOAD_RECEIVE,
            upload,
            by=ANONYMOUS,
            tenant=tenant,
            origin=origin,
            details={"size": max_size},
        )
        await self.journal.commit(received)

    async def record_refusal(
        self, error: StrongroomError, origin: Origin, tenant: str = OPERATOR, upload: str = ""
    ) -> None:
        """Put into the audit log that content was not taken.

        Args:
            error: Why.
            origin: Where the request came from.
            tenant: Whose log it goes to; the operator's where no valid grant says.
            upload: Its id, where a valid grant says.
        """
        await self.journal.record_failure(
            error, Action.UPLOAD_RECEIVE, upload, by=ANONYMOUS, tenant=tenant, origin=origin
        )

    async def complete(self, principal: Principal, upload: str) -> Upload:
        """The client has put the content: have it sealed. Saying so twice is the same as once.

        Raises:
            Conflict: The content has not arrived or not as many bytes as granted, or the upload has
                failed.
            NotFound: There is no such upload.
        """
        stored = await self.store.upload(principal.tenant, upload)
        found = stored.value
        if found.state in {"completed", "sealed"}:
            await self._record_read(principal, upload)
            return found
        if found.state == "failed":
            raise Conflict("The upload has failed; begin a new one.")
        await self._check_arrived(principal.tenant, found)
        completed = found.model_copy(update={"state": "completed"})
        event = self.journal.event(
            EventType.UPLOAD_COMPLETED,
            principal.tenant,
            upload,
            traceparent=principal.origin.traceparent,
        )
        entry = self.journal.entry(Action.UPLOAD_COMPLETE, upload, by=principal)
        try:
            await self.journal.commit(
                entry, [self.store.uploads.replace(stored, completed)], [event]
            )
        except Conflict:
            found = (await self.store.upload(principal.tenant, upload)).value
            if found.state not in {"completed", "sealed"}:
                raise
            await self._record_read(principal, upload)
            return found  # the same was said at the same time
        return completed

    async def cancel(self, principal: Principal, upload: str) -> None:
        """Cancel an upload that is not completed; what has arrived is removed. Twice is the same as once.

        Raises:
            Conflict: The upload is completed: delete its document instead.
            NotFound: There is no such upload.
        """
        stored = await self.store.upload(principal.tenant, upload)
        if stored.value.state in {"completed", "sealed"}:
            raise Conflict("The upload is completed; delete its document instead.")
        if stored.value.state == "granted":
            entry = self.journal.entry(Action.UPLOAD_CANCEL, upload, by=principal)
            await self.fail(stored, "cancelled", entry)
        else:
            await self._record_read(principal, upload)

    async def expire(self, stored: Stored[Upload]) -> bool:
        """End an upload whose grant has expired; return whether it had."""
        upload = stored.value
        if upload.state != "granted" or upload.expires_at > self.runtime.now():
            return False
        entry = self.journal.entry(Action.UPLOAD_EXPIRE, upload.id, tenant=stored.partition.tenant)
        try:
            await self.fail(stored, "expired", entry)
        except Conflict:
            return False  # it was completed in time after all
        return True

    async def fail(self, stored: Stored[Upload], failure: str, entry: Entry) -> None:
        """End an upload without a document; what has arrived is removed.

        Raises:
            Conflict: The upload was concurrently modified; nothing was done.
        """
        failed = stored.value.end("failed", failure)
        await self.journal.commit(entry, [self.store.uploads.replace(stored, failed)])
        await self.staging.delete(stored.value.object)

    async def _record_read(self, principal: Principal, upload: str) -> None:
        """Put into the audit log that the state of an upload is about to be told, and was not changed."""
        await self.journal.commit(self.journal.entry(Action.UPLOAD_READ, upload, by=principal))

    async def _check_granted(self, tenant: str, upload: str) -> None:
        """Refuse content for an upload that takes no more.

        Raises:
            Conflict: It was completed, or has ended.
        """
        try:
            state = (await self.store.upload(tenant, upload)).value.state
        except NotFound:
            state = "failed"
        if state != "granted":
            raise Conflict(_NO_MORE_CONTENT)

    async def _is_staged(self, name: str, arrived: Arriving) -> bool:
        """Whether content that arrived whole is what staging has already."""
        staged = Arriving(self.staging.get(name), arrived.size)
        try:
            async for _ in staged.whole():
                pass
        except (InvalidInput, NotFound, TooLarge):
            return False
        return staged.sha256.digest() == arrived.sha256.digest()

    async def _check_arrived(self, tenant: str, upload: Upload) -> None:
        try:
            arrived = await self.staging.head(upload.object)
        except NotFound:
            raise Conflict(
                "The content has not arrived; put it to the upload's URL first."
            ) from None
        granted = (await self.descriptions.open(tenant, upload)).size
        wrong = ""
        if arrived.size != granted:
            wrong = f"has {arrived.size} bytes, not {granted}"
        elif arrived.coding.lower() not in {"", "identity"}:
            wrong = "came with a Content-Encoding"  # by which it would be decompressed when read
        if wrong:
            # A storage service takes anything, and nothing a second time: its URL is free again.
            await self.staging.delete(upload.object)
            raise Conflict(
                f"The content that arrived {wrong}, and was removed; put all of it, as it is, to the"
                " upload's URL."
            )
