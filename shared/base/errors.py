"""Every error that Strongroom raises on purpose.

An error's ``slug`` is stable: clients match on it. Its ``detail`` says what was wrong and what to do,
and holds no secret, no name and no content, because it reaches logs and clients alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, Self


class StrongroomError(Exception):
    """The base of all errors raised on purpose.

    Args:
        detail: One or two sentences: what was wrong with this request and what to do about it.

    Attributes:
        audited: Whether it is in the audit log; ``Journal.record_failure`` puts it there once.
    """

    slug: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.audited = False


class InvalidInput(StrongroomError):
    """The client sent a request that is not valid. Never a broken contract of our own.

    Args:
        detail: As for every error.
        faults: What is wrong with each field, by its place in the request, such as
            ``header.Content-Type``; a sentence each.
    """

    slug = "invalid-input"
    title = "The request is not valid"

    def __init__(self, detail: str, faults: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.faults = dict(faults or {})

    @classmethod
    def in_fields(cls, faults: Mapping[str, str]) -> Self:
        """Return the error of a request with these faults, one at least."""
        if len(faults) == 1:
            return cls(next(iter(faults.values())), faults)
        return cls(
            "Correct the fields that are listed in errors and send the request again.", faults
        )


class Unauthenticated(StrongroomError):
    """The request carries no valid token.

    Attributes:
        tenant: Of the user to whom the token was issued, where we issued it; else empty.
        user: The id of that user; else empty.
    """

    slug = "unauthenticated"
    title = "Sign in first"
    tenant: str = ""
    user: str = ""


class TokenExpired(Unauthenticated):
    """The token was issued here and has expired."""

    slug = "token-expired"
    title = "The token has expired"


class TokenRevoked(Unauthenticated):
    """The token was valid, and its user's security version has been raised since."""

    slug = "token-revoked"
    title = "The token has been revoked"


class SignInRefused(Unauthenticated):
    """Wrong tenant, username or password; which of them is not said."""

    slug = "sign-in-refused"
    title = "The sign-in was refused"


class PasswordChangeRequired(Unauthenticated):
    """The temporary password was right, and a password of the user's own must be set now."""

    slug = "password-change-required"
    title = "Choose a password of your own"


class Forbidden(StrongroomError):
    """We know who is asking, and they may not."""

    slug = "forbidden"
    title = "Your roles do not allow this"


class NotFound(StrongroomError):
    """There is no such thing in the caller's tenant."""

    slug = "not-found"
    title = "There is no such thing"


class Conflict(StrongroomError):
    """The state has moved on, or the thing exists already; nothing was changed."""

    slug = "conflict"
    title = "The request conflicts with the present state"


class Retained(Conflict):
    """The object cannot be changed or removed before its date; it is untouched."""

    slug = "retained"
    title = "The object is retained"


class LegalHold(Conflict):
    """A legal hold forbids deleting; nothing was changed, and only the end of the hold can change that."""

    slug = "legal-hold"
    title = "A legal hold forbids this"


class PreconditionFailed(StrongroomError):
    """An ``If-Match`` condition does not hold."""

    slug = "precondition-failed"
    title = "The precondition does not hold"


class IdempotencyKeyReused(StrongroomError):
    """An ``Idempotency-Key`` came back with a different request."""

    slug = "idempotency-key-reused"
    title = "The Idempotency-Key belongs to another request"


class TooLarge(StrongroomError):
    """The body or content exceeds a limit."""

    slug = "too-large"
    title = "The content is too large"


class UnsupportedMediaType(StrongroomError):
    """The body comes in a form that no route takes.

    Args:
        detail: As for every error.
        accept_encoding: The content codings that are taken, where that is what is wrong.
    """

    slug = "unsupported-media-type"
    title = "The body comes in a form that is not taken"

    def __init__(self, detail: str, accept_encoding: str = "") -> None:
        super().__init__(detail)
        self.accept_encoding = accept_encoding


class DigestMismatch(StrongroomError):
    """What arrived is not what the client's digest says it sent."""

    slug = "digest-mismatch"
    title = "The content does not match its digest"


class RangeNotSatisfiable(StrongroomError):
    """The range lies outside the content.

    Args:
        detail: As for every error.
        size: The content's size, bytes.
    """

    slug = "range-not-satisfiable"
    title = "The range lies outside the content"

    def __init__(self, detail: str, size: int) -> None:
        super().__init__(detail)
        self.size = size


class RateLimited(StrongroomError):
    """Too many requests.

    Args:
        detail: As for every error.
        retry_after: Seconds until a request may pass again.
    """

    slug = "rate-limited"
    title = "Too many requests"

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Unavailable(StrongroomError):
    """A store, bus or key service did not respond in time; trying again is safe.

    Args:
        detail: As for every error.
        retry_after: Seconds after which a retry makes sense.
    """

    slug = "unavailable"
    title = "A part of the service does not respond"

    def __init__(self, detail: str, retry_after: int = 5) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Damaged(StrongroomError):
    """Sealed content, a wrapped key or a sealed name is not what was once written."""

    slug = "damaged"
    title = "The stored content is damaged"


class InvalidEvent(StrongroomError):
    """A message is not an event of a known type: no later delivery can help."""

    slug = "invalid-event"
    title = "The message is not an event"


class InternalError(StrongroomError):
    """A contract of our own was broken: a defect or a wrong deployment, never the client's fault."""

    slug = "internal"
    title = "Something went wrong on our side"


class Interrupted(StrongroomError):
    """The client ended the connection before its request was done; no one gets the response."""

    slug = "interrupted"
    title = "The client ended the connection"


FAILURES: Final = (Damaged, InternalError, Unavailable)
"""Errors of the service itself; all others refuse what was asked."""
