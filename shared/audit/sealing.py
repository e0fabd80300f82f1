"""Personal data in entries: sealed when an entry enters the log, so that the log outlives the keys.

Where a request came from, and with which program, is personal data, and in part text that a client
typed. An entry that waits holds it in clear, for seconds; the log holds it sealed under a key of the
tenant's. When those keys are destroyed the entry still says who did what and when, and its leaf is
still the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.base.errors import Damaged
from shared.base.models import JsonObject, encode
from shared.crypto.metadata import MetadataKey, metadata_associated_data, open_metadata
from shared.journal.entries import Entry
from shared.keys.epochs import EpochKeys
from shared.keys.models import EpochKey
from shared.ports.clock import Runtime

PERSONAL = ("address", "user_agent")
"""The fields of an entry that the log holds sealed."""


@dataclass(slots=True)
class EntrySealer:
    """Seals and opens the personal data of entries.

    Attributes:
        epochs: The keys.
        environment: Bound into the encryption.
        runtime: Time and randomness.
    """

    epochs: EpochKeys
    environment: str
    runtime: Runtime

    async def seal(self, tenant: str, entries: Sequence[JsonObject]) -> list[JsonObject]:
        """The entries as the log holds them; where the tenant's keys are gone, so is their personal data.

        Raises:
            Unavailable: The key vault or the record store does not respond.
        """
        if not any(_facts(entry) for entry in entries):
            return list(entries)
        key = await self._key(tenant)
        derived = None if key is None else MetadataKey(key.key)
        sealed = []
        for entry in entries:
            facts = _facts(entry)
            kept = {name: value for name, value in entry.items() if name != "user_agent"}
            if facts:
                kept["address"] = ""
            if facts and key is not None and derived is not None:
                bound = metadata_associated_data(self.environment, tenant, "audit", entry["id"])
                data = derived.seal(bound, facts, self.runtime.random)
                kept["sealed"] = {"epoch": key.id, "data": encode(data)}
            sealed.append(kept)
        return sealed

    async def open(self, tenant: str, entries: Sequence[Entry]) -> list[Entry]:
        """The entries with their personal data; what cannot be opened any more stays as it is.

        Raises:
            Unavailable: The key vault or the record store does not respond.
        """
        epochs = [entry.sealed.epoch for entry in entries if entry.sealed is not None]
        keys = await self.epochs.of_all(tenant, epochs) if epochs else {}
        return [
            self._opened(entry, keys.get(entry.sealed.epoch)) if entry.sealed else entry
            for entry in entries
        ]

    async def _key(self, tenant: str) -> EpochKey | None:
        try:
            return await self.epochs.any(tenant)
        except Damaged:
            return None

    def _opened(self, entry: Entry, key: EpochKey | None) -> Entry:
        if key is None or entry.sealed is None:
            return entry
        try:
            bound = metadata_associated_data(self.environment, entry.tenant, "audit", entry.id)
            facts = open_metadata(key.key, bound, entry.sealed.data)
        except Damaged:
            return entry
        known = {name: str(facts[name]) for name in PERSONAL if name in facts}
        return entry.model_copy(update={**known, "sealed": None})


def _facts(entry: JsonObject) -> dict[str, str]:
    return {name: value for name in PERSONAL if (value := entry.get(name))}
