"""MemoryPoster: hands what is posted to functions of a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from shared.base.errors import Unavailable
from shared.ports.posting import PostResponse


@dataclass(frozen=True, slots=True)
class Posted:
    """What was posted."""

    url: str
    media_type: str
    body: bytes


@dataclass(slots=True)
class MemoryPoster:
    """A ``Poster``.

    Attributes:
        services: What responds at each URL, and may raise; elsewhere there is nobody.
        posted: What was posted, failures included.
    """

    services: dict[str, Callable[[bytes], PostResponse]] = field(default_factory=dict)
    posted: list[Posted] = field(default_factory=list)

    async def post(self, url: str, media_type: str, body: bytes) -> PostResponse:
        """See ``Poster.post``."""
        self.posted.append(Posted(url, media_type, body))
        if url not in self.services:
            raise Unavailable("The host refused the connection; check its name and its firewall.")
        return self.services[url](body)

    async def close(self) -> None:
        """See ``Poster.close``."""
