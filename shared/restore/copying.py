"""Copying a set into another tenant: opened with the keys of one, sealed with those of the other."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from shared.backup.snapshot import BackedUpVersion, PartState
from shared.base.errors import Conflict, Damaged, DigestMismatch, NotFound
from shared.base.partitions import Partition, partition_of
from shared.documents.models import Document, Version
from shared.documents.sealing import Incoming
from shared.documents.store import DOCUMENT_KIND
from shared.identity.accounts import USER_KIND, USERNAME_KIND
from shared.identity.models import User, UsernameReservation
from shared.identity.reservations import find_reservation, username_id
from shared.journal.collections import Collection
from shared.journal.entries import Action
from shared.restore.assessing import Run
from shared.restore.documents import NO_LIMIT, DocumentRestorer


@dataclass(slots=True)
class TenantCopier:
    """Copies documents and users of a set into the tenant that a run goes into.

    Attributes:
        restorer: Commits restored documents; has the stores and the keys.
    """

    restorer: DocumentRestorer
    _documents: Collection[Document] = field(init=False)
    _users: Collection[User] = field(init=False)
    _usernames: Collection[UsernameReservation] = field(init=False)

    def __post_init__(self) -> None:
        records = self.restorer.store.records
        self._documents = Collection(records, Document, DOCUMENT_KIND)
        self._users = Collection(records, User, USER_KIND, lambda user: user.id)
        self._usernames = Collection(records, UsernameReservation, USERNAME_KIND)

    async def copy(self, run: Run, state: PartState, document: str) -> None:
        """Copy one document, unless it was copied before.

        A version that cannot be opened is left out, and those that follow take the number before theirs.

        Raises:
            Unavailable: A store or the key vault does not respond; repeat it.
        """
        run.outcome.documents += 1
        partition = partition_of(run.into, document)
        if await self._documents.find(partition, document) is not None:
            return
        try:
            found = await run.snapshot.document(state, document)
        except Damaged:
            run.outcome.add("damaged", document)
            return
        for number in found.forgotten:
            run.outcome.add("erased", document, number)
        versions: list[Version] = []
        for each in found.versions:
            sealed = await self._seal(run, document, each, len(versions) + 1)
            if sealed is not None:
                versions.append(sealed)
        if not versions:
            return
        changes = await self.restorer.changes_to_create(run, found.document, versions)
        await self.restorer.commit(run, document, changes, versions)
        run.outcome.restored += 1

    async def copy_users(self, run: Run, state: PartState) -> None:
        """Copy the users; one whose username is taken in the other tenant is left out.

        Raises:
            Unavailable: The record store does not respond; repeat it.
        """
        partition = Partition(run.into)
        for (kind, _), line in sorted(state.lines.items()):
            if kind != USER_KIND:
                continue
            user = User.model_validate({**line.body, "tenant": run.into})
            if await find_reservation(self._usernames, partition, user.username) is not None:
                continue
            changes = [
                self._users.create(partition, user),
                self._usernames.create(
                    partition, UsernameReservation(user=user.id), username_id(user.username)
                ),
            ]
            entry = self.restorer.journal.entry(
                Action.USER_CREATE,
                user.id,
                by=run.by,
                tenant=run.into,
                details={"set": run.snapshot.manifest.id, "roles": sorted(user.roles)},
            )
            with suppress(Conflict):
                await self.restorer.journal.commit(entry, changes)
                run.outcome.records += 1

    async def _seal(
        self, run: Run, document: str, backed_up: BackedUpVersion, number: int
    ) -> Version | None:
        """Seal one version for the other tenant; None: it cannot be opened."""
        contents = self.restorer.contents
        try:
            names = await contents.names(run.tenant, document, backed_up.version)
            sealed = await self.restorer.sealer.seal(
                Incoming(
                    run.into,
                    document,
                    number,
                    backed_up.version.created_by,
                    names.description(),
                    contents.plaintext(run.snapshot, document, backed_up),
                    NO_LIMIT,
                    names.sha256,
                )
            )
        except (Damaged, DigestMismatch):
            run.outcome.add("damaged", document, backed_up.version.number)
            return None
        except NotFound:
            run.outcome.add("missing", document, backed_up.version.number)
            return None
        run.outcome.versions += 1
        run.outcome.bytes += backed_up.location.size
        return sealed.version
