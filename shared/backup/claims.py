"""Who is making a tenant's next set: said in its ``BackupState``, so that others leave it alone."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from shared.backup.state import LEASE, STATE_ID, BackupState, states_of
from shared.base.errors import Conflict, StrongroomError
from shared.base.partitions import Partition
from shared.journal.collections import Stored
from shared.ports.clock import Runtime
from shared.ports.records import RecordStore

UNDER_WAY: Final = "A set of this tenant is being made."


@dataclass(slots=True)
class Claim:
    """That one attempt is making the tenant's next set.

    Attributes:
        records: Where states are kept.
        runtime: Time.
        state: The tenant's, as committed.
    """

    records: RecordStore
    runtime: Runtime
    state: Stored[BackupState]

    async def renew(self) -> None:
        """Say that the attempt goes on, if that was last said a while ago.

        Raises:
            Conflict: Another attempt has begun.
        """
        now, until = self.runtime.now(), self.state.value.attempt_until
        if until is not None and LEASE / 2 < until - now <= LEASE:
            return
        states, partition = states_of(self.records), self.state.partition
        value = self.state.value.model_copy(update={"attempt_until": now + LEASE})
        await self.records.commit(partition, [states.replace(self.state, value)])
        renewed = await states.get(partition, STATE_ID)
        if renewed.value.attempt != value.attempt:
            raise Conflict(UNDER_WAY)
        self.state = renewed

    async def give_up(self) -> None:
        """Let the next attempt begin at once, if the record store responds."""
        state = self.state.value
        ended = state.model_copy(
            update={
                "attempt": None,
                "attempt_until": None,
                "unfinished": (*state.unfinished, state.attempt or ""),
            }
        )
        with suppress(StrongroomError):
            change = states_of(self.records).replace(self.state, ended)
            await self.records.commit(self.state.partition, [change])


async def begin_attempt(
    records: RecordStore,
    runtime: Runtime,
    tenant: str,
    state: Stored[BackupState] | None,
    attempt: str,
) -> Claim:
    """Claim the making of a tenant's next set.

    Args:
        records: Where states are kept.
        runtime: Time.
        tenant: Whose.
        state: As last read; None: there is none.
        attempt: The id of the set.

    Raises:
        Conflict: Another attempt began at the same time.
        Unavailable: The record store does not respond.
    """
    states, partition = states_of(records), Partition(tenant)
    until = runtime.now() + LEASE
    if state is None:
        value = BackupState(attempt=attempt, attempt_until=until)
        await records.commit(partition, [states.create(partition, value)])
    else:
        ended = (state.value.attempt,) if state.value.attempt else ()
        value = state.value.model_copy(
            update={
                "attempt": attempt,
                "attempt_until": until,
                "unfinished": (*state.value.unfinished, *ended),
            }
        )
        await records.commit(partition, [states.replace(state, value)])
    claimed = await states.get(partition, STATE_ID)
    if claimed.value.attempt != attempt:
        raise Conflict(UNDER_WAY)
    return Claim(records, runtime, claimed)
