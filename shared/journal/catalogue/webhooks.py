"""The catalogue's part about webhooks."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from shared.journal.catalogue.description import SYSTEM, Description
from shared.journal.entries import Action

_USER: Final = ("user",)
_WEBHOOK: Final = ("whk",)

WEBHOOKS: Final[Mapping[Action, Description]] = MappingProxyType(
    {
        Action.WEBHOOK_CREATE: Description(
            "A webhook was set up", by=_USER, resource=_WEBHOOK, details={"kinds": list}
        ),
        Action.WEBHOOK_READ: Description(
            "A webhook was read, or a request that had created it was repeated",
            by=_USER,
            resource=_WEBHOOK,
        ),
        Action.WEBHOOK_LIST: Description("Webhooks were listed", by=_USER),
        Action.WEBHOOK_CHANGE: Description(
            "A webhook was changed; `changed` names the fields",
            by=_USER,
            resource=_WEBHOOK,
            details={"changed": list},
        ),
        Action.WEBHOOK_ROTATE: Description(
            "A webhook was given a new secret", by=_USER, resource=_WEBHOOK
        ),
        Action.WEBHOOK_PROBE: Description(
            "A test message was sent, and taken or not (`status` is the collector's)",
            by=_USER,
            resource=_WEBHOOK,
            details={"status": int},
            optional=frozenset({"status"}),
            outcomes=("allowed", "failed"),
        ),
        Action.WEBHOOK_REPLAY: Description(
            "A webhook was set back to a position in the log",
            by=_USER,
            resource=_WEBHOOK,
            details={"position": int},
        ),
        Action.WEBHOOK_DELETE: Description("A webhook was deleted", by=_USER, resource=_WEBHOOK),
        Action.WEBHOOK_FAIL: Description(
            "A webhook has failed for so long that it is paused, or its collector has disabled it",
            by=SYSTEM,
            resource=_WEBHOOK,
            details={"state": str, "attempts": int, "status": int},
            outcomes=("failed",),
        ),
    }
)
