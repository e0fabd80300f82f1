"""Port: collectors, to which webhooks are pushed: HTTPS servers that tenants name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

ANSWER_SECONDS: Final = 15.0
"""How long a collector may take to respond, from the first look at its name on."""

MAX_URL: Final = 2_048


class Collectors(Protocol):
    """Sends messages to public hosts over TLS; no redirect is followed."""

    def check(self, url: str) -> None:
        """Refuse what cannot be the URL of a collector, without asking anybody.

        Raises:
            InvalidInput: It is not https, has a user, a fragment or a port that is not allowed, or its host
                is not a full name or a public address.
        """
        ...

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Send a message, and return the status of the response, whose body is ignored.

        Args:
            url: One that ``check`` let pass.
            headers: Besides those that HTTP needs.
            body: JSON.

        Raises:
            Unavailable: Nothing responded in ``ANSWER_SECONDS``, or not at a public address over TLS; its
                detail holds nothing of what the collector said.
        """
        ...

    async def close(self) -> None:
        """Break every connection."""
        ...
