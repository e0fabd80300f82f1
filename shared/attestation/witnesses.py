"""Witnesses: have a log's newest checkpoint cosigned, until a quorum has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from shared.attestation.asking import Asked, WitnessClient
from shared.attestation.models import (
    PAUSES,
    WITNESSED_ID,
    WitnessedLog,
    WitnessStatus,
    witnessed_logs,
)
from shared.audit.models import LogCheckpoint
from shared.audit.reading import LogReader
from shared.base.concurrency import at_once
from shared.base.errors import Damaged
from shared.base.partitions import Partition
from shared.crypto.notes import Note, VerifierKey, parse_note
from shared.crypto.policies import Policy, PolicyWitness
from shared.journal.collections import Collection, Stored

WITNESSES_AT_ONCE: Final = 8
MAX_WITNESSES: Final = 32
"""What tlog-policy recommends to support; a note has room for them beside the log's own signatures."""


@dataclass(slots=True)
class Witnesses:
    """Has checkpoints cosigned.

    Attributes:
        reader: Reads the logs.
        client: Asks one witness.
        policy: Who the witnesses are, each with its URL, and how many are a quorum.
    """

    reader: LogReader
    client: WitnessClient
    policy: Policy
    _logs: Collection[WitnessedLog] = field(init=False)

    def __post_init__(self) -> None:
        self._logs = witnessed_logs(self.reader.log.records)

    async def take(self, tenant: str, newest: LogCheckpoint, silent: set[str]) -> datetime | None:
        """Ask the witnesses that have not cosigned the newest checkpoint; keep what they say.

        Args:
            tenant: Whose log.
            newest: Its newest checkpoint.
            silent: URLs where nothing responded in this run; they are not asked, and more are added.

        Returns:
            When to look at the log again; None: a quorum has cosigned.

        Raises:
            Conflict: Another process has asked at the same time.
            Damaged: The checkpoint is not what follows what was cosigned, or a tile is missing.
            Unavailable: A store does not respond.
        """
        stored = await self._logs.find(Partition(tenant), WITNESSED_ID)
        known = stored.value if stored else WitnessedLog()
        note = parse_note(newest.note.encode())
        if known.note and newest.tree.size <= known.size:
            if parse_note(known.note.encode()).text != note.text:
                raise Damaged("The newest checkpoint of a log is not the one that was cosigned.")
            return None
        note, signed = self._pending(known, note)
        statuses = {status.key: status for status in known.witnesses}
        due = self._due(signed, statuses, silent)
        tree = self.reader.tree(tenant, newest.tree.size)

        async def ask(witness: PolicyWitness) -> Asked:
            asked = await self.client.ask(tree, witness, statuses[str(witness.key)], note)
            if asked.is_silent:
                silent.add(witness.url)
            return asked

        asked = await at_once(ask, due, WITNESSES_AT_ONCE)
        statuses |= {each.status.key: each.status for each in asked}
        fresh = tuple(each.cosignature for each in asked if each.cosignature is not None)
        note = Note(note.text, note.signatures + fresh)
        signed |= {one.key for one, each in zip(due, asked, strict=True) if each.cosignature}
        is_met = self.policy.is_met(signed)
        text = note.encode().decode()
        grown = known.model_copy(
            update={
                "witnesses": tuple(statuses.values()),
                "pending": "" if is_met else text,
                **({"note": text, "size": newest.tree.size} if is_met else {}),
            }
        )
        await self._keep(tenant, stored, grown)
        if is_met:
            return None
        soon = self.client.runtime.now() + PAUSES[0]
        waiting = (statuses[str(one.key)] for one in self.policy.witnesses if one.key not in signed)
        return min((status.next_at or soon for status in waiting), default=soon)

    def _pending(self, known: WitnessedLog, note: Note) -> tuple[Note, set[VerifierKey]]:
        """The checkpoint with the cosignatures that are kept, and whose these are."""
        keys = [witness.key for witness in self.policy.witnesses]
        try:
            pending = parse_note(known.pending.encode())
            if pending.text == note.text:
                return pending, set(pending.verified_by(keys))
        except ValueError:
            pass  # there is none, or somebody has changed it; they are asked again
        return note, set()

    def _due(
        self,
        signed: set[VerifierKey],
        statuses: dict[str, WitnessStatus],
        silent: set[str],
    ) -> list[PolicyWitness]:
        """The witnesses to ask now; each gets its status, and those that left the policy lose theirs."""
        now = self.client.runtime.now()
        kept: Mapping[str, WitnessStatus] = dict(statuses)
        statuses.clear()
        due = []
        for witness in self.policy.witnesses:
            key = str(witness.key)
            status = statuses[key] = kept.get(key) or WitnessStatus(key=key)
            if witness.key not in signed and witness.url not in silent and not status.waits(now):
                due.append(witness)
        return due

    async def _keep(
        self, tenant: str, stored: Stored[WitnessedLog] | None, grown: WitnessedLog
    ) -> None:
        if stored is not None and stored.value == grown:
            return
        partition = Partition(tenant)
        change = self._logs.put(partition, stored, grown)
        await self.reader.log.records.commit(partition, [change])
