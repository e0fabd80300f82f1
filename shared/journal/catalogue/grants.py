"""The catalogue's part about staff grants: each entry is in the operator's log and in the tenant's."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from shared.journal.catalogue.description import CALLER, SYSTEM, Description
from shared.journal.entries import Action

_FACTS: Final[Mapping[str, type[str] | type[int] | type[list[str]]]] = MappingProxyType(
    {
        "tenant": str,
        "reason_code": str,
        "scope": str,
        "depth": str,
        "operations": list,
        "seconds": int,
    }
)
"""Of every step of a grant: whose data, why, and what it allows from then on."""


def _step(when: str, by: tuple[str, ...] = ("employee",)) -> Description:
    return Description(when, by=by, resource=("grt",), details=_FACTS)


GRANTS: Final[Mapping[Action, Description]] = MappingProxyType(
    {
        Action.GRANT_REQUEST: _step("An employee asked for a grant"),
        Action.GRANT_BREAK_GLASS: _step("An employee took a grant alone, in an emergency"),
        Action.GRANT_APPROVE: _step("A second employee approved a grant"),
        Action.GRANT_CONSENT: _step("The tenant consented to a grant", ("user",)),
        Action.GRANT_DECLINE: _step("A request for a grant was turned down", CALLER),
        Action.GRANT_NARROW: _step("A grant was narrowed; the details say to what", CALLER),
        Action.GRANT_RETURN: _step("An employee gave a grant back before its end"),
        Action.GRANT_REVOKE: _step("A grant was revoked", CALLER),
        Action.GRANT_CASE_CLOSE: _step("A grant ended with its support case"),
        Action.GRANT_EXPIRE: _step(
            "The time of a grant, or of the request for one, was over", SYSTEM
        ),
        Action.GRANT_REVIEW: _step("A grant that nobody had approved was reviewed"),
        Action.GRANT_USE: Description(
            "What an employee tried under a grant was refused",
            by=("employee",),
            resource=("grt",),
            details={"tenant": str},
            outcomes=("refused",),
        ),
        Action.GRANT_READ: Description("A grant was read", resource=("grt",)),
        Action.GRANT_REPORT: Description("A tenant got the report about grants", by=("user",)),
        Action.GRANT_LIST: Description("Grants were listed"),
    }
)
