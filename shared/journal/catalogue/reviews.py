"""The catalogue's part about access reviews: ids, roles and decisions, and never a reason."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from shared.journal.catalogue.description import CALLER, SYSTEM, Description
from shared.journal.entries import Action

_REVIEW: Final = ("rev",)
_ABOUT_A_GRANT: Final = frozenset({"tenant"})
"""Whose data a grant is for, in entries about one: they are in that tenant's log as well."""

REVIEWS: Final[Mapping[Action, Description]] = MappingProxyType(
    {
        Action.REVIEW_OPEN: Description(
            "An access review was opened: of all roles and grants (`full`), or of one grant that nobody had"
            " approved (`break-glass`)",
            by=(*CALLER, *SYSTEM),
            resource=_REVIEW,
            details={"kind": str, "tenant": str},
            optional=_ABOUT_A_GRANT,
        ),
        Action.REVIEW_DECIDE: Description(
            "A role of a user, or a grant, was confirmed or revoked in a review",
            resource=_REVIEW,
            details={"item": str, "user": str, "role": str, "decision": str, "tenant": str},
            optional=frozenset({"role"}) | _ABOUT_A_GRANT,
        ),
        Action.REVIEW_SUSPEND: Description(
            "Nobody decided about a role in time: it lets do nothing until somebody does",
            by=SYSTEM,
            resource=_REVIEW,
            details={"user": str, "role": str},
        ),
        Action.REVIEW_LAPSE: Description(
            "Nobody decided about a suspended role either: it was revoked, and a user without any other"
            " role was disabled (1)",
            by=SYSTEM,
            resource=_REVIEW,
            details={"user": str, "role": str, "disabled": int},
        ),
        Action.REVIEW_FINISH: Description(
            "A review is finished; its signed report has this SHA-256",
            by=SYSTEM,
            resource=_REVIEW,
            details={
                "sha256": str,
                "items": int,
                "confirmed": int,
                "revoked": int,
                "lapsed": int,
                "obsolete": int,
                "overdue": int,
                "tenant": str,
            },
            optional=_ABOUT_A_GRANT,
        ),
        Action.REVIEW_READ: Description(
            "A review, or a page of its items, was read", resource=_REVIEW
        ),
        Action.REVIEW_LIST: Description("Access reviews were listed"),
        Action.REVIEW_REPORT: Description(
            "The report of a review was downloaded",
            resource=_REVIEW,
            details={"form": str},
        ),
    }
)
