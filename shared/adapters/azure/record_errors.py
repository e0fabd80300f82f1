"""What the errors of Cosmos DB mean."""

from __future__ import annotations

from typing import Any, Final

from shared.adapters.azure.calls import Classification, classify_http
from shared.base.errors import Conflict, InternalError, NotFound

_OWNER_MISSING: Final = 1_003
_PARTITION_FULL: Final = 1_014
"""Sub-statuses: of 404, and of 403 at 20 GB in one partition."""


def classify_read(error: Exception) -> Classification | None:
    """What Cosmos DB's errors mean when reading."""
    if _status(error) == 404 and not _container_is_missing(error):
        return Classification(NotFound("There is no such record."))
    return _classify_else(error)


def classify_commit(error: Exception) -> Classification | None:
    """What Cosmos DB's errors mean when writing."""
    status = _status(error)
    if status in {404, 409, 412} and not _container_is_missing(error):
        return Classification(Conflict("A record was created, changed or removed; read it again."))
    if status == 413:
        return Classification(InternalError("A commit was too large as a whole."))
    return _classify_else(error)


def _classify_else(error: Exception) -> Classification | None:
    if _status(error) == 404:
        return Classification(InternalError("The record store lacks a container; deploy again."))
    if _status(error) == 403 and getattr(error, "sub_status", None) == _PARTITION_FULL:
        return Classification(InternalError("A partition of the record store is full."))
    return classify_http("The record store", error)


def _container_is_missing(error: Exception) -> bool:
    """Whether a 404 is about the container or the database, and not about an item.

    The SDK asks for a container's properties before it first uses it. Later on, the service says in
    a sub-status that what would own the item is gone.
    """
    from azure.cosmos.exceptions import CosmosResourceNotFoundError

    if not isinstance(error, CosmosResourceNotFoundError):
        return False
    request: Any = error.response.request if error.response else None
    about_an_item = request is None or "/docs/" in request.url.rstrip("/")
    return error.sub_status == _OWNER_MISSING or not about_an_item


def _status(error: Exception) -> int | None:
    from azure.core.exceptions import HttpResponseError

    return error.status_code if isinstance(error, HttpResponseError) else None
