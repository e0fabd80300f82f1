"""MemoryCollectors: keeps the messages that were sent, and responds as tests tell it to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.adapters.external.collectors import check_url
from shared.adapters.external.dialing import Dialer
from shared.base.errors import StrongroomError


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that was sent."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class MemoryCollectors:
    """A ``Collectors``.

    Attributes:
        sent: The messages, failed ones included.
        answers: What the next messages to a URL get, a status or an error; 204 where there are none.
    """

    sent: list[Sent] = field(default_factory=list)
    answers: dict[str, list[int | StrongroomError]] = field(default_factory=dict)

    def check(self, url: str) -> None:
        """See ``Collectors.check``."""
        check_url(url, Dialer())

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """See ``Collectors.post``."""
        self.check(url)
        self.sent.append(Sent(url, headers, body))
        answers = self.answers.get(url)
        answer = answers.pop(0) if answers else 204
        if isinstance(answer, StrongroomError):
            raise answer
        return answer

    async def close(self) -> None:
        """See ``Collectors.close``."""
