"""The catalogue's part about accounts, users and tenants."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from shared.journal.catalogue.description import ANONYMOUS, CALLER, SYSTEM, Description
from shared.journal.entries import Action

ACCOUNTS: Final[Mapping[Action, Description]] = MappingProxyType(
    {
        Action.SIGN_IN: Description(
            "Somebody signed in, or tried to; the actor is known once the password was right, the"
            " resource if the username exists",
            by=(*CALLER, *ANONYMOUS),
            resource=("usr", ""),
            outcomes=("allowed", "refused", "failed"),
        ),
        Action.SIGN_OUT: Description("A user revoked all of their tokens", resource=("usr",)),
        Action.PASSWORD_CHANGE: Description(
            "A user replaced their password, or tried to",
            resource=("usr",),
            outcomes=("allowed", "refused", "failed"),
        ),
        Action.ACCOUNT_READ: Description("A user read their own account", resource=("usr",)),
        Action.TENANT_CREATE: Description(
            "A tenant was created; in its own log and in the operator's",
            by=("employee",),
            resource=("ten",),
        ),
        Action.TENANT_READ: Description(
            "The directory's entry of a tenant was read, or a creation was repeated",
            by=("employee",),
            resource=("ten",),
        ),
        Action.TENANT_LIST: Description("Tenants were listed", by=("employee",)),
        Action.USER_CREATE: Description(
            "A user was created, or tried to be with the bootstrap secret (anonymous), or was"
            " copied by a restore",
            by=(*CALLER, *ANONYMOUS, *SYSTEM),
            resource=("usr", ""),
            details={"roles": list, "set": str, "account_of": str},
            optional=frozenset({"roles", "set", "account_of"}),
            outcomes=("allowed", "refused", "failed"),
        ),
        Action.USER_READ: Description(
            "A user was read, or a creation was repeated", resource=("usr",)
        ),
        Action.USER_LIST: Description("Users were listed"),
        Action.USER_CHANGE: Description(
            "A user's roles were set, or the user was disabled (1) or enabled (0)",
            resource=("usr",),
            details={"roles": list, "disabled": int},
        ),
        Action.USER_TEMPORARY_PASSWORD: Description(
            "A user got a temporary password", resource=("usr",)
        ),
    }
)
