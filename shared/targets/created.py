"""A new target as the response to its request shows it: the first time, and where that is repeated."""

from __future__ import annotations

from typing import get_args

from shared.access.principal import Principal
from shared.journal.idempotency import Outcome
from shared.ports.targets import ProbeResult, ProbeStep
from shared.targets.models import Target, TargetStatus
from shared.targets.requests import DescribedTarget, NewTarget
from shared.targets.setup import PreparedTarget
from shared.targets.store import Lag


def as_created(value: Target, tag: str, prepared: PreparedTarget) -> DescribedTarget:
    """A target about which nothing has happened yet."""
    status = TargetStatus(id=value.id)
    return DescribedTarget(value, tag, prepared.configuration, status, Lag(), prepared.steps)


def facts_of(value: Target, prepared: PreparedTarget) -> dict[str, str]:
    """What a response says of a new target and its request does not, for ``from_facts``."""
    return {
        "created_at": value.created_at.isoformat(),
        "recipients": " ".join(prepared.configuration.recipients),
        "steps": " ".join(each.step for each in prepared.steps),
        "tag": value.tag,
    }


def from_facts(principal: Principal, new: NewTarget, outcome: Outcome) -> DescribedTarget:
    """The target that an earlier request like this one made, as it was then.

    Args:
        principal: Who made it.
        new: What the request says.
        outcome: What came of the first one.
    """
    facts = outcome.facts
    value = Target.model_validate(
        {
            "id": outcome.made,
            "name": new.name,
            "epoch": "",
            "configuration": b"",
            "bytes_per_second": new.bytes_per_second,
            "created_at": facts["created_at"],
            "created_by": principal.user,
        }
    )
    configuration = new.configuration
    if new.recovery is not None:
        configuration = configuration.model_copy(
            update={
                "recipients": tuple(facts["recipients"].split()),
                "quorum": new.recovery.quorum,
                "holders": len(new.recovery.recipients),
            }
        )
    tried = facts["steps"].split()
    steps = [ProbeResult(step, ok=True) for step in get_args(ProbeStep) if step in tried]
    return as_created(value, facts["tag"], PreparedTarget(configuration, steps))
