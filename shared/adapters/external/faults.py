"""What the errors of object stores mean, in words that hold nothing of what the store said.

The texts of obstore hold URLs, which may hold signatures, and responses of a server that the tenant
chose. Of these only a status and a code that is known here are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from shared.adapters.external.dialing import Reason
from shared.base.errors import Forbidden, NotFound, StrongroomError, Unavailable

Doing = Literal["write", "read", "list", "delete"]

_STATUS: Final = re.compile(r"(?:status code: |\(code: )(\d{3})\b")
_CODE: Final = re.compile(r"<Code>(\w{1,64})</Code>")

NO_BUCKET: Final = "The bucket or container does not exist; create it, or correct its name."
_OTHER_REGION: Final = (
    "The bucket is in another region, or at another endpoint; correct the region."
)
_NOT_ACCEPTED: Final = (
    "The service does not accept the credentials; they are wrong or have expired."
)
_NOT_TRUSTED: Final = "The host's certificate is not trusted, or is for another name."
_CLOCKS: Final = "The service's clock and ours differ by minutes; try again later."
_TOO_SLOW: Final = "The service did not respond in time; try again later."
_RETRY_AFTER: Final = 60

_UNAVAILABLE: Final[Mapping[str, str]] = {
    "NoSuchBucket": NO_BUCKET,
    "ContainerNotFound": NO_BUCKET,
    "ContainerBeingDeleted": NO_BUCKET,
    "ContainerDisabled": NO_BUCKET,
    "AuthorizationHeaderMalformed": _OTHER_REGION,
    "IllegalLocationConstraintException": _OTHER_REGION,
    "PermanentRedirect": _OTHER_REGION,
    "TemporaryRedirect": _OTHER_REGION,
    "RequestTimeTooSkewed": _CLOCKS,
}
_REFUSED: Final = frozenset(
    {
        "AuthenticationFailed",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidAuthenticationInfo",
        "InvalidToken",
        "NoAuthenticationInformation",
        "SignatureDoesNotMatch",
    }
)
"""Codes that say who is asking is not known; other refusals say that they may not."""


def translate(error: Exception, doing: Doing, failure: Reason | None = None) -> StrongroomError:
    """What an error of obstore means.

    Args:
        error: A ``FileNotFoundError`` or one of ``obstore.exceptions``.
        doing: What was tried.
        failure: Why the last connection was not made, as ``Gate.failure`` says.
    """
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    text = str(error)
    status = found[1] if (found := _STATUS.search(text)) else ""
    code = found[1] if (found := _CODE.search(text)) else ""
    if code in _UNAVAILABLE:
        return Unavailable(_UNAVAILABLE[code], _RETRY_AFTER)
    if code in _REFUSED or status == "401" or isinstance(error, UnauthenticatedError):
        return Forbidden(_NOT_ACCEPTED)
    if status == "403" or isinstance(error, PermissionDeniedError):
        return Forbidden(f"The credentials do not allow to {doing} objects.")
    if status == "404" or isinstance(error, FileNotFoundError):
        if doing in {"read", "delete"}:
            return NotFound("There is no such object.")
        return Unavailable(NO_BUCKET, _RETRY_AFTER)
    if status in {"301", "307"} or "without LOCATION" in text:
        return Unavailable(_OTHER_REGION, _RETRY_AFTER)
    if status:
        return Unavailable(f"The service responded with the status {status}.", _RETRY_AFTER)
    if failure is not None:
        return Unavailable(failure.value, _RETRY_AFTER)
    if "InvalidCertificate" in text:
        return Unavailable(_NOT_TRUSTED, _RETRY_AFTER)
    if "TimedOut" in text:
        return Unavailable(_TOO_SLOW, _RETRY_AFTER)
    return Unavailable("The connection to the service broke; try again later.", _RETRY_AFTER)


def is_past_the_end(error: Exception) -> bool:
    """Whether a range was refused because the object ends before it."""
    found = _STATUS.search(str(error))
    if found is None:  # some services send another part instead, which the client notices
        return "StartTooLarge" in str(error)
    return found[1] == "416"
