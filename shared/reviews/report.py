"""The report of a finished review: one JSON document in its canonical form (RFC 8785), which is signed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.base.models import JsonObject
from shared.crypto.canonical import canonical_json
from shared.reviews.models import Review, ReviewItem
from shared.reviews.rules import count

FORMAT: Final = "strongroom-access-review/1"


@dataclass(frozen=True, slots=True)
class Explained:
    """An item, and why it was decided so."""

    item: ReviewItem
    reason: str


def report(review: Review, environment: str, items: Sequence[Explained]) -> bytes:
    """The report of a review whose items are all settled: equal for equal arguments.

    Args:
        review: With ``finished_at``.
        environment: In which it took place.
        items: Every one, in the order of their ids.
    """
    return canonical_json(
        {
            "format": FORMAT,
            "environment": environment,
            "tenant": review.tenant,
            "review": review.id,
            "kind": review.kind.value,
            "opened_by": review.opened_by,
            "period": {"from": _time(review.since), "to": _time(review.opened_at)},
            "decide_by": _time(review.decide_by),
            "lapse_at": _time(review.lapse_at),
            "finished_at": _time(review.finished_at),
            "counts": count(each.item for each in items).model_dump(),
            "items": [_item(each) for each in items],
        }
    )


def _item(explained: Explained) -> JsonObject:
    item, verdict = explained.item, explained.item.verdict
    return {
        "item": item.id,
        "user": item.user,
        "username": item.username,
        "role": item.role.value if item.role else None,
        "grant": None if item.role else item.id,
        "tenant": item.of or None,
        "break_glass": item.break_glass,
        "since": _time(item.since),
        "last_used_at": _time(item.last_used_at),
        "proposal": item.proposal.value,
        "state": item.state.value,
        "settled_at": _time(item.settled_at),
        "decision": None
        if verdict is None
        else {
            "choice": verdict.choice.value,
            "reason": explained.reason,
            "by": verdict.by,
            "at": _time(verdict.at),
        },
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")
