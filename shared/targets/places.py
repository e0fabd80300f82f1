"""Places of targets: each belongs to one target of a tenant, however many ask at the same time."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.base.errors import Conflict, StrongroomError
from shared.base.leases import lasts
from shared.journal.contention import retry_conflicts
from shared.ports.records import Change
from shared.ports.targets import TargetAddress
from shared.targets.models import MAX_TARGETS, TargetPlace, TargetPlaces
from shared.targets.store import TargetKey, TargetRecords

RESERVED: Final = timedelta(minutes=10)
"""How long a place stays reserved if its target never comes to be: longer than any set-up takes."""


@dataclass(slots=True)
class Places:
    """Reserves places, so that only one request at a time writes to each.

    Attributes:
        store: Keeps them.
    """

    store: TargetRecords

    async def reserve(self, target: TargetKey, address: TargetAddress) -> None:
        """Reserve the place of a new target.

        Raises:
            Conflict: Another target has it, or the tenant has as many as it can have.
            Unavailable: Others were changing the targets all the time.
        """
        now = self.store.runtime.now()
        place = hashlib.sha256(address.model_dump_json().encode()).hexdigest()

        async def attempt() -> str | None:
            stored = await self.store.find_places(target.tenant)
            taken = tuple(
                each
                for each in (stored.value.places if stored else ())
                if each.until is None or lasts(each.until, now, RESERVED)
            )
            if any(each.place == place for each in taken):
                return "Another target has this address; choose another prefix."
            if len(taken) >= MAX_TARGETS:
                return f"A tenant has at most {MAX_TARGETS} targets; delete one of them first."
            mine = TargetPlace(target=target.id, place=place, until=now + RESERVED)
            places = TargetPlaces(places=(*taken, mine))
            collection = self.store.places
            change: Change = collection.put(target.partition, stored, places)
            await self.store.records.commit(target.partition, [change])
            return None

        refusal = await retry_conflicts(attempt, self.store.runtime)
        if refusal is not None:
            raise Conflict(refusal)

    async def keep(self, target: TargetKey) -> Change:
        """The change that makes a reservation last, to be committed with the target.

        Raises:
            Conflict: It has expired.
        """
        stored = await self.store.find_places(target.tenant)
        places = stored.value.places if stored else ()
        if stored is None or all(each.target != target.id for each in places):
            raise Conflict("Setting up the target took too long; try again.")
        kept = tuple(
            each.model_copy(update={"until": None}) if each.target == target.id else each
            for each in places
        )
        return self.store.places.replace(stored, TargetPlaces(places=kept))

    async def give_up(self, target: TargetKey) -> list[Change]:
        """The change that frees the place of a target, to be committed with its end."""
        stored = await self.store.find_places(target.tenant)
        if stored is None:
            return []
        left = tuple(each for each in stored.value.places if each.target != target.id)
        return [self.store.places.replace(stored, TargetPlaces(places=left))]

    async def release(self, target: TargetKey) -> None:
        """Free the reservation of a target that did not come to be; it expires if this fails."""

        async def attempt() -> None:
            stored = await self.store.find_places(target.tenant)
            if stored is None:
                return
            left = tuple(
                each
                for each in stored.value.places
                if each.target != target.id or each.until is None
            )
            if left != stored.value.places:
                change = self.store.places.replace(stored, TargetPlaces(places=left))
                await self.store.records.commit(target.partition, [change])

        with suppress(StrongroomError):
            await retry_conflicts(attempt, self.store.runtime)
