"""Port: posting to the services of others that the operator names: witnesses, time stamp authorities."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol

RESPONSE_SECONDS: Final = 15.0
"""How long a service may take to respond, from the first look at its name on."""

MAX_RESPONSE: Final = 65_536
"""Bytes of a response's body at most."""

_REST: Final = r"(?::[1-9][0-9]{0,4})?(?:/[A-Za-z0-9._~%!$&'()*+,;=:@/-]*)?"
_SERVICE: Final = re.compile(rf"https://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]){_REST}")
_LOOPBACK: Final = re.compile(rf"http://(?:127\.0\.0\.1|\[::1\]){_REST}")


@dataclass(frozen=True, slots=True)
class PostResponse:
    """What a service responded.

    Attributes:
        status: The HTTP status, whatever it is.
        media_type: Without parameters, in lower case; empty: there is none.
        body: At most ``MAX_RESPONSE`` bytes, as they came.
    """

    status: int
    media_type: str
    body: bytes


class Poster(Protocol):
    """Posts to hosts of the operator's choice; no redirect is followed."""

    async def post(self, url: str, media_type: str, body: bytes) -> PostResponse:
        """Post a body.

        Args:
            url: https, whose certificate is verified; or http on a loopback address of this machine.
            media_type: Of the body.
            body: Any bytes.

        Raises:
            Unavailable: Nothing responded in ``RESPONSE_SECONDS``, or not over TLS, or with more than
                ``MAX_RESPONSE`` bytes; its detail holds nothing of what was responded.
        """
        ...

    async def close(self) -> None:
        """Break every connection."""
        ...


def is_service_url(url: str) -> bool:
    """Whether a URL is https, without a user, a query or a fragment."""
    return _SERVICE.fullmatch(url) is not None


def is_loopback_url(url: str) -> bool:
    """Whether a URL is http on a loopback address, which never leaves this machine."""
    return _LOOPBACK.fullmatch(url) is not None
