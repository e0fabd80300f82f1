"""What requests and responses say about staff grants."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from functions.api.bodies import Body, id_pattern
from shared.grants.models import (
    MAX_DOCUMENTS,
    Decision,
    Depth,
    Ending,
    Line,
    Operation,
    Private,
    ReasonCode,
    Scope,
    ScopeKind,
    State,
    Text,
)
from shared.grants.service import Described, NewGrant

# Not strict, as JSON has neither tuples nor enumerations.
_DepthField = Annotated[Depth, Field(strict=False)]
_Operations = Annotated[
    tuple[Annotated[Operation, Field(strict=False)], ...],
    Field(strict=False, max_length=len(Operation), json_schema_extra={"uniqueItems": True}),
]
_Documents = Annotated[
    tuple[Annotated[str, id_pattern("doc")], ...],
    Field(strict=False, min_length=1, max_length=MAX_DOCUMENTS),
]


class CaseBody(Body):
    """A support case: its id, and where it is kept."""

    system: Line
    id: Line


class CollectionBody(Body):
    """The documents whose metadata has this value under this name."""

    name: Line
    value: Line


class ScopeBody(Body):
    """Which documents, and how much of them: one of `documents`, `collection` and `search`.

    `search` finds what documents' names contain. `depth`: `metadata`, or their `content` as well.
    """

    depth: _DepthField
    documents: _Documents | SkipJsonSchema[None] = None
    collection: CollectionBody | SkipJsonSchema[None] = None
    search: Line | SkipJsonSchema[None] = None

    @property
    def kind(self) -> ScopeKind:
        """How it says which documents."""
        if self.collection is not None:
            return ScopeKind.COLLECTION
        return ScopeKind.DOCUMENTS if self.search is None else ScopeKind.SEARCH


class GrantRequest(Body):
    """A grant to ask for. The tenant reads all of it.

    `break_glass`: for an emergency, at once and alone, for an hour at most; a review has to close it.
    """

    tenant: Annotated[str, id_pattern("ten")]
    case: CaseBody
    reason: Annotated[ReasonCode, Field(strict=False)]
    text: Text
    scope: ScopeBody
    operations: _Operations = (Operation.READ,)
    seconds: Annotated[int, Field(ge=1, le=86_400)]
    break_glass: bool = False

    def new(self) -> NewGrant:
        """What the service takes."""
        scope, collection = self.scope, self.scope.collection
        return NewGrant(
            tenant=self.tenant,
            reason=self.reason,
            private=Private(
                case=self.case.id,
                system=self.case.system,
                text=self.text,
                collection=None if collection is None else (collection.name, collection.value),
                search=scope.search,
            ),
            scope=Scope(kind=scope.kind, depth=scope.depth, documents=scope.documents or ()),
            operations=self.operations,
            seconds=self.seconds,
            break_glass=self.break_glass,
        )


class Narrowing(Body):
    """What a grant is to allow from now on; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    depth: _DepthField | SkipJsonSchema[None] = None
    documents: _Documents | SkipJsonSchema[None] = None
    operations: _Operations | SkipJsonSchema[None] = None
    seconds: Annotated[int, Field(ge=1, le=86_400)] | SkipJsonSchema[None] = None


class DecisionView(BaseModel):
    """Who decided, and when."""

    by: str
    at: datetime

    @classmethod
    def of(cls, decision: Decision | None) -> DecisionView | None:
        """The view of a decision; None where there is none."""
        return None if decision is None else cls(by=decision.by, at=decision.at)


class EndView(DecisionView):
    """How a grant ended before its time; `by_tenant`: a user of the tenant ended it."""

    how: Ending
    by_tenant: bool


class CaseView(BaseModel):
    """A support case."""

    system: str
    id: str


class ScopeView(BaseModel):
    """Which documents, and how much of them."""

    kind: ScopeKind
    depth: Depth
    documents: list[str]
    collection: dict[str, str] | None
    search: str | None


class GrantView(BaseModel):
    """A staff grant, or the request for one.

    `state`: `requested`, `live`, `expired` or `ended`. It starts when the last person whom it needs has
    agreed. `last_used_at` is exact to the minute; the audit log has each use.
    """

    id: str
    tenant: str
    requester: str
    state: State
    case: CaseView
    reason: ReasonCode
    text: str
    scope: ScopeView
    operations: list[Operation]
    seconds: int
    break_glass: bool
    requested_at: datetime
    consent_required: bool
    approval: DecisionView | None
    consent: DecisionView | None
    starts_at: datetime | None
    ends_at: datetime | None
    end: EndView | None
    last_used_at: datetime | None
    review: DecisionView | None

    @classmethod
    def of(cls, described: Described) -> GrantView:
        """Return the view of a grant."""
        grant, private, end = described.grant, described.private, described.grant.end
        collection = private.collection
        return cls(
            id=grant.id,
            tenant=grant.tenant,
            requester=grant.requester,
            state=described.state,
            case=CaseView(system=private.system, id=private.case),
            reason=grant.reason,
            text=private.text,
            scope=ScopeView(
                kind=grant.scope.kind,
                depth=grant.scope.depth,
                documents=list(grant.scope.documents),
                collection=None
                if collection is None
                else {"name": collection[0], "value": collection[1]},
                search=private.search,
            ),
            operations=list(grant.operations),
            seconds=grant.seconds,
            break_glass=grant.break_glass,
            requested_at=grant.requested_at,
            consent_required=grant.consent_required,
            approval=DecisionView.of(grant.approval),
            consent=DecisionView.of(grant.consent),
            starts_at=grant.starts_at,
            ends_at=grant.ends_at,
            end=None
            if end is None
            else EndView(by=end.by, at=end.at, how=end.how, by_tenant=end.tenant),
            last_used_at=grant.last_used_at,
            review=DecisionView.of(grant.review),
        )
