"""The catalogue's part about policies, keys, the log itself, targets, dead letters and refused requests."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from shared.journal.catalogue.description import ANONYMOUS, ANY_ID, CALLER, SYSTEM, Description
from shared.journal.entries import Action

_POLICY: Final = (
    *("trash_days", "hourly", "daily", "monthly", "yearly", "verification_days", "legal_hold"),
)

OPERATION: Final[Mapping[Action, Description]] = MappingProxyType(
    {
        Action.POLICY_READ: Description("The policy was read"),
        Action.POLICY_CHANGE: Description(
            "The policy was set; `legal_hold` is 1 or 0",
            details=dict.fromkeys(_POLICY, int) | {"staff_access": str},
        ),
        Action.KEY_CREATE: Description(
            "An epoch key, an intermediate key, the first token key or the first key of checkpoints was"
            " made",
            by=SYSTEM,
            resource=("epo", "int", "key"),
        ),
        Action.KEY_ROTATE: Description(
            "A token key was added to the ring, a tenant key was rotated and an intermediate key replaced,"
            " or a key of checkpoints was made",
            by=("employee", *SYSTEM),
            resource=("int", "key"),
            details={"key_version": str, "replaces": str},
            optional=frozenset({"key_version", "replaces"}),
        ),
        Action.KEY_REWRAP: Description(
            "Epoch keys were wrapped under the new intermediate key",
            by=SYSTEM,
            resource=("int",),
            details={"epochs": int},
        ),
        Action.KEY_DELETE: Description(
            "Intermediate keys that this one has replaced were deleted, or keys of checkpoints that this"
            " one has replaced",
            by=SYSTEM,
            resource=("int", "key"),
            details={"intermediate_keys": list},
            optional=frozenset({"intermediate_keys"}),
        ),
        Action.AUDIT_READ: Description(
            "The audit log was searched, all of it or about one id; or it is read piece by piece (`form`),"
            " of which there is one entry a person and ten minutes",
            resource=(ANY_ID,),
            details={"entries": int, "form": str},
            optional=frozenset({"entries", "form"}),
        ),
        Action.AUDIT_DIFFERENCE: Description(
            "The monitor found that an audit log is not what was signed; in the tenant's log and in the"
            " operator's",
            by=SYSTEM,
            details={
                "kind": str,
                "difference": str,
                "object": str,
                "position": int,
                "count": int,
                "log": str,
            },
            optional=frozenset({"object", "position", "count", "log"}),
            outcomes=("failed",),
        ),
        Action.AUDIT_ALERT: Description(
            "There were so many entries of a kind within so many seconds that a rule raises an alert;"
            " `entry` is the last of them",
            by=SYSTEM,
            resource=("usr", ""),
            details={"rule": str, "severity": str, "count": int, "seconds": int, "entry": str},
        ),
        Action.AUDIT_REBUILD: Description(
            "The index of an audit log was rebuilt from its bundles, in the tenant's log and in the"
            " operator's",
            by=SYSTEM,
            details={
                "log": str,
                "start": int,
                "end": int,
                "created": int,
                "replaced": int,
                "removed": int,
            },
        ),
        Action.AUDIT_EXPORT: Description(
            "A period of the audit log was exported", details={"format": str, "entries": int}
        ),
        Action.TARGET_CREATE: Description(
            "A target was set up, or could not be",
            by=("user",),
            resource=("tgt", ""),
            details={"kind": str, "quorum": int, "holders": int},
            outcomes=("allowed", "refused"),
        ),
        Action.TARGET_READ: Description(
            "A target was read, or a request that had created it was repeated",
            by=("user",),
            resource=("tgt",),
        ),
        Action.TARGET_LIST: Description("Targets were listed", by=("user",)),
        Action.TARGET_CHANGE: Description(
            "A target was changed (`changed` names the fields), or could not be, or works again"
            " (`state`)",
            by=("user", *SYSTEM),
            resource=("tgt",),
            details={"changed": list, "state": str},
            optional=frozenset({"changed", "state"}),
            outcomes=("allowed", "refused"),
        ),
        Action.TARGET_PROBE: Description(
            "A target was tried, and works or does not",
            by=("user",),
            resource=("tgt",),
            outcomes=("allowed", "refused"),
        ),
        Action.TARGET_DELETE: Description("A target was deleted", by=("user",), resource=("tgt",)),
        Action.TARGET_COPY: Description(
            "A version was copied to a target",
            by=SYSTEM,
            resource=("doc",),
            details={"target": str, "version": int, "size": int},
        ),
        Action.TARGET_ERASE: Description(
            "The copies of an erased document were deleted in a target",
            by=SYSTEM,
            resource=("doc",),
            details={"target": str, "objects": int},
        ),
        Action.TARGET_FAIL: Description(
            "A target, or a document's copy in it, has failed for so long that it is reported",
            by=SYSTEM,
            resource=("doc", "tgt"),
            details={"target": str, "version": int},
            optional=frozenset({"target", "version"}),
            outcomes=("failed",),
        ),
        Action.EVENTS_READ: Description(
            "Dead letters were listed", by=("employee",), details={"subscription": str}
        ),
        Action.EVENTS_REPLAY: Description(
            "Dead letters were delivered again",
            by=("employee",),
            details={"subscription": str, "messages": int},
        ),
        Action.REQUEST: Description(
            "A request was refused, or the client ended it before its response; `route` is its method"
            " and the template of its path, the resource the id that its path names",
            by=(*CALLER, *ANONYMOUS),
            resource=(ANY_ID,),
            details={"route": str},
            outcomes=("refused", "failed"),
        ),
        Action.REQUESTS_REFUSED: Description(
            "A flood of refused requests ended: so many, the first of which is an entry of its own, in"
            " so many seconds",
            by=(*CALLER, *ANONYMOUS),
            details={"refusals": int, "seconds": int},
            outcomes=("refused",),
            reasons=("rate-limited",),
        ),
    }
)
