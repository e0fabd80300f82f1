"""Dead letters, for the operator's employees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.access.principal import Principal
from shared.base.errors import InvalidInput
from shared.base.topology import Topology
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.ports.bus import DeadLetter, EventBus


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Lists and replays dead letters. Both are audited before they take effect."""

    bus: EventBus
    topology: Topology
    journal: Journal

    async def list(
        self, principal: Principal, subscription: str, *, limit: int
    ) -> Sequence[DeadLetter]:
        """The oldest dead letters of a subscription.

        Raises:
            InvalidInput: There is no such subscription.
        """
        self._check(subscription)
        letters = await self.bus.dead_letters(subscription, limit=limit)
        await self.journal.commit(
            self.journal.entry(
                Action.EVENTS_READ, by=principal, details={"subscription": subscription}
            )
        )
        return letters

    async def replay(
        self, principal: Principal, subscription: str, message_ids: Sequence[str]
    ) -> int:
        """Deliver dead letters again, to this subscription alone; return how many there were.

        Raises:
            InvalidInput: There is no such subscription.
        """
        self._check(subscription)
        await self.journal.commit(
            self.journal.entry(
                Action.EVENTS_REPLAY,
                by=principal,
                details={"subscription": subscription, "messages": len(message_ids)},
            )
        )
        return await self.bus.replay(subscription, message_ids)

    def _check(self, subscription: str) -> None:
        known = [each.name for each in self.topology.subscriptions]
        if subscription not in known:
            raise InvalidInput(f"Choose a subscription: {', '.join(known)}.")
