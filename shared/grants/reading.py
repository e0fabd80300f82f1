"""Reading and changing documents under a grant: exactly those that it covers."""

from __future__ import annotations

from dataclasses import dataclass

from shared.access.principal import Principal
from shared.base.errors import Damaged, InvalidInput, NotFound
from shared.base.listing import Listing
from shared.documents.reading import DocumentReader, DocumentVersion
from shared.grants.access import Entered, GrantAccess
from shared.grants.models import Depth, Operation, ScopeKind
from shared.grants.rules import covers

_NOT_COVERED = "There is no such document within the grant."


@dataclass(frozen=True, slots=True)
class GrantedReader:
    """Reads what grants cover.

    Attributes:
        access: Lets employees in.
        reader: Reads documents.
    """

    access: GrantAccess
    reader: DocumentReader

    async def page(
        self, principal: Principal, grant: str, *, limit: int, cursor: str | None
    ) -> Listing[DocumentVersion]:
        """A page of the documents that a grant covers; it may be shorter where there are more.

        Raises:
            Forbidden: The grant is not live.
            InvalidInput: The cursor does not belong to this list.
            NotFound: The employee has no such grant.
        """
        entered = await self.access.enter(principal, grant, Operation.READ, Depth.METADATA)
        if entered.grant.scope.kind is ScopeKind.DOCUMENTS:
            return await self._named(entered, limit, cursor)
        return await self.reader.page(
            entered.principal,
            limit=limit,
            cursor=cursor,
            keep=lambda found: _covered(entered, found),
        )

    async def find(
        self,
        principal: Principal,
        grant: str,
        document: str,
        number: int | None = None,
        *,
        operation: Operation = Operation.READ,
        depth: Depth = Depth.METADATA,
    ) -> tuple[Entered, DocumentVersion]:
        """A version of a document that a grant covers, before any of it is sent.

        Raises:
            Forbidden: The grant is not live, or does not allow this.
            NotFound: The employee has no such grant, or it covers no such document.
        """
        entered = await self.access.enter(principal, grant, operation, depth)
        try:
            if document not in entered.grant.scope.documents and (
                entered.grant.scope.kind is ScopeKind.DOCUMENTS
            ):
                raise NotFound(_NOT_COVERED)
            # What the document is now decides, also about its earlier versions.
            current = await self.reader.find(entered.principal, document)
            if not _covered(entered, current):
                raise NotFound(_NOT_COVERED)
        except NotFound:
            error = NotFound(_NOT_COVERED)
            await self.access.refuse(principal, entered.grant, error)
            raise error from None
        if number is None or number == current.version.number:
            return entered, current
        return entered, await self.reader.find(entered.principal, document, number)

    async def versions(
        self, principal: Principal, grant: str, document: str
    ) -> Listing[DocumentVersion]:
        """Every version of a document that a grant covers, the latest first.

        Raises:
            Forbidden: The grant is not live.
            NotFound: The employee has no such grant, or it covers no such document.
        """
        entered, _ = await self.find(principal, grant, document)
        return await self.reader.versions(entered.principal, document)

    async def _named(
        self, entered: Entered, limit: int, cursor: str | None
    ) -> Listing[DocumentVersion]:
        """A page of the documents that a grant names, each with an entry of its own."""
        documents = entered.grant.scope.documents
        if cursor is not None and cursor not in documents:
            raise InvalidInput("The cursor is not valid for this list; start again without one.")
        start = 0 if cursor is None else documents.index(cursor) + 1
        page = documents[start : start + limit]
        found: list[DocumentVersion] = []
        damaged: list[str] = []
        for document in page:
            try:
                one = await self.reader.find(entered.principal, document)
            except NotFound:
                continue  # it was deleted since
            except Damaged:
                damaged.append(document)
                continue
            await self.reader.record_read(entered.principal, one)
            found.append(one)
        return Listing(found, page[-1] if start + limit < len(documents) else None, damaged)


def _covered(entered: Entered, found: DocumentVersion) -> bool:
    return covers(
        entered.grant.scope,
        entered.private,
        found.document.id,
        found.names.name,
        found.names.metadata,
    )
