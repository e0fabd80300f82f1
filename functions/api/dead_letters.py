"""Dead letters: messages that a subscription gave up on, for operators to inspect and replay."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, Field, WithJsonSchema

from functions.api.bodies import DECIMAL, Body
from functions.api.dependencies import PrincipalDep, ServicesDep
from functions.api.guard import requires
from functions.api.routing import guarded_router
from shared.access.permissions import Permission
from shared.base.topology import load_topology

router = guarded_router("/dead-letters", "dead-letters")

Subscription = Annotated[
    str,
    WithJsonSchema(
        {"type": "string", "enum": [each.name for each in load_topology().subscriptions]}
    ),
]


class DeadLetterView(BaseModel):
    """A message that a subscription gave up on."""

    message_id: str
    type: str | None
    tenant: str | None
    subject: str | None
    reason: str
    delivery_count: int
    dead_lettered_at: datetime


class DeadLettersView(BaseModel):
    """The oldest dead letters of a subscription."""

    items: list[DeadLetterView]


class Replay(Body):
    """The dead letters to deliver again, by message id."""

    subscription: Subscription
    message_ids: Annotated[list[str], Field(min_length=1, max_length=100)]


class ReplayedView(BaseModel):
    """How many dead letters were replayed."""

    replayed: int


@router.get("", summary="List dead letters")
@requires(Permission.EVENTS_MANAGE)
async def list_dead_letters(
    subscription: Subscription,
    services: ServicesDep,
    principal: PrincipalDep,
    limit: Annotated[int, DECIMAL, Query(ge=1, le=200)] = 50,
) -> DeadLettersView:
    """List the messages that a subscription gave up on, oldest first."""
    letters = await services.dead_letters.list(principal, subscription, limit=limit)
    return DeadLettersView(
        items=[
            DeadLetterView(
                message_id=letter.message_id,
                type=letter.event.type if letter.event else None,
                tenant=letter.event.tenant if letter.event else None,
                subject=letter.event.subject if letter.event else None,
                reason=letter.reason,
                delivery_count=letter.delivery_count,
                dead_lettered_at=letter.dead_lettered_at,
            )
            for letter in letters
        ]
    )


@router.post("/replay", summary="Replay dead letters")
@requires(Permission.EVENTS_MANAGE)
async def replay_dead_letters(
    body: Replay, services: ServicesDep, principal: PrincipalDep
) -> ReplayedView:
    """Deliver dead letters again, to their subscription alone."""
    replayed = await services.dead_letters.replay(principal, body.subscription, body.message_ids)
    return ReplayedView(replayed=replayed)
