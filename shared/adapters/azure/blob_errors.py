"""What the errors of Blob Storage mean."""

from __future__ import annotations

from typing import Final

from shared.adapters.azure.calls import Classification, classify_http
from shared.base.errors import Conflict, InternalError, NotFound

_NO_CONTAINER: Final = frozenset(
    {"ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"}
)
_OBJECT_EXISTS: Final = frozenset({"BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet"})


class BlocksDroppedError(InternalError):
    """Another writer of the name committed first, which drops the blocks of all others."""


def classify(error: Exception) -> Classification | None:
    """What an error of Blob Storage means; None: it is not one."""
    from azure.core.exceptions import HttpResponseError

    if isinstance(error, HttpResponseError):
        code = getattr(error, "error_code", None)
        if code == "InvalidBlockList":
            return Classification(BlocksDroppedError("The blocks of an object went missing."))
        if code in _NO_CONTAINER:
            return Classification(
                InternalError("The object store lacks its container; deploy again.")
            )
        if error.status_code == 404:
            return Classification(NotFound("There is no such object."))
        if code in _OBJECT_EXISTS:
            return Classification(Conflict("An object of this name exists."))
    return classify_http("The object store", error)
