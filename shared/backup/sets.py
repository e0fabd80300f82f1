"""Making sets: what changed of a tenant, in the backup store, under a signed and chained manifest.

There is no lock. Whoever makes a set says so in the tenant's ``BackupState``, so that others leave it alone
for a few minutes; and the commit that ends it holds only if no one else has begun another since. What an
attempt leaves behind that ended in between is used by the next one, or removed once its date has come; of
its key pages, what no record names is forgotten by the next one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from shared.audit.index import log_part, newest_log_part
from shared.backup.claims import UNDER_WAY, Claim, begin_attempt
from shared.backup.models import Manifest, PartIndex, PartRef, SealedUnder, object_name
from shared.backup.parts import PartBackup
from shared.backup.reading import SetReader
from shared.backup.retention import kind_of, next_due, objects_until, retained_until
from shared.backup.state import STATE_ID, Attempt, BackupState, states_of
from shared.base import telemetry
from shared.base.errors import Conflict, Damaged, NotFound, StrongroomError
from shared.base.partitions import MAIN, Partition
from shared.base.streams import single
from shared.journal.collections import Collection, Stored
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.journal.months import DOCUMENT_MONTHS, GRANT_MONTHS, Months
from shared.keys.intermediate import IntermediateKeys
from shared.keys.models import WrappedIntermediateKey, intermediate_keys_of
from shared.keys.names import tenant_key_name
from shared.policy.service import Policies
from shared.ports.clock import Runtime
from shared.ports.records import RecordStore

EXTENDED_AT_ONCE: Final = 16
"""Objects whose retention is extended at the same time."""

_log = logging.getLogger("strongroom.backup")


@dataclass(frozen=True, slots=True)
class _Before:
    """What a new set follows.

    Attributes:
        state: The tenant's, as committed.
        manifest: Of the newest set; None: there is none.
        indexes: Of the newest set's partitions that were read.
    """

    state: Stored[BackupState] | None
    manifest: Manifest | None
    indexes: dict[str, PartIndex]


@dataclass(slots=True)
class BackupSets:
    """Makes the sets of tenants.

    Attributes:
        journal: Commits the end of each set with its audit entry.
        intermediates: Keys.
        policies: Retention.
        parts: Back up partitions.
        reader: Reads the set before.
        runtime: Time and randomness.
    """

    journal: Journal
    intermediates: IntermediateKeys
    policies: Policies
    parts: PartBackup
    reader: SetReader
    runtime: Runtime
    _states: Collection[BackupState] = field(init=False)
    _keys: Collection[WrappedIntermediateKey] = field(init=False)
    _months: Sequence[Months] = field(init=False)

    def __post_init__(self) -> None:
        records = self._records
        self._states = states_of(records)
        self._keys = intermediate_keys_of(records)
        self._months = [Months(records, kind) for kind in (DOCUMENT_MONTHS, GRANT_MONTHS)]

    @property
    def _records(self) -> RecordStore:
        return self.parts.records

    async def make(self, tenant: str, changed: Iterable[str]) -> Manifest | None:
        """Make a set of a tenant if anything changed that belongs into one, or if one is due.

        Args:
            tenant: Whose; ``OPERATOR`` for the operator's own records.
            changed: The partitions that may have changed.

        Returns:
            None: there was no reason to.

        Raises:
            Conflict: Another process is making one, or was faster.
            Damaged: The set before, or a key, is not what was written.
            Unavailable: A store or the key vault does not respond.
        """
        now = self.runtime.now()
        before = await self._before(tenant, now)
        wanted = await self._wanted(tenant, changed, before)
        last = before.manifest
        if not wanted and last is not None and now < next_due(last.kind, last.made_at):
            return None
        attempt = self.runtime.new_id("set", now)
        claimed = await begin_attempt(self._records, self.runtime, tenant, before.state, attempt)
        try:
            return await self._make(now, wanted, before, claimed)
        except StrongroomError:
            await claimed.give_up()
            raise

    async def _make(
        self, now: datetime, wanted: Iterable[str], before: _Before, claim: Claim
    ) -> Manifest:
        tenant, state = claim.state.partition.tenant, claim.state.value
        last, policy = before.manifest, await self.policies.of(tenant)
        kind = kind_of(now, last.made_at if last else None)
        until = retained_until(kind, now, policy)
        current = await self.intermediates.current(tenant)
        attempt = Attempt(
            state.attempt or "",
            tenant,
            current.key,
            objects_until(until, now, policy),
            search=state.sequence > 0 or bool(state.unfinished),
            renew=claim.renew,
        )
        await self._clean(tenant, state.unfinished)
        refs = {part.part: part for part in last.parts} if last else {}
        new_bytes = 0
        for part in wanted:
            updated = await self.parts.update(attempt, part, before.indexes.get(part))
            new_bytes += updated.new_bytes
            refs[part] = await self._write_index(attempt, refs.get(part), updated.index)
            before.indexes[part] = updated.index
        for part, ref in refs.items():
            if ref.retained_until < until:
                refs[part] = await self._extend(attempt, ref, before.indexes.get(part))
        manifest = Manifest(
            environment=self.reader.manifests.environment,
            tenant=tenant,
            id=attempt.id,
            sequence=state.sequence + 1,
            made_at=now,
            kind=kind,
            retain_until=until,
            previous=state.last,
            keys=await self._sealed_under(tenant, current.key.id, refs.values(), last),
            parts=tuple(sorted(refs.values(), key=lambda ref: ref.part)),
            new_bytes=new_bytes,
        )
        written = await self.reader.manifests.write(manifest)
        await claim.renew()
        done = BackupState(
            sequence=manifest.sequence,
            last=written,
            made_at=now,
            restored_at=state.restored_at,
        )
        entry = self.journal.entry(
            Action.BACKUP_CREATE,
            attempt.id,
            tenant=tenant,
            details={
                "sequence": manifest.sequence,
                "kind": kind,
                "sha256": written.sha256.hex(),
                "versions": manifest.counts.versions,
            },
        )
        await self.journal.commit(entry, [self._states.replace(claim.state, done)])
        return manifest

    async def _before(self, tenant: str, now: datetime) -> _Before:
        state = await self._states.find(Partition(tenant), STATE_ID)
        if state is None or state.value.last is None:
            if state is not None and state.value.under_way(now):
                raise Conflict(UNDER_WAY)
            return _Before(state, None, {})
        if state.value.under_way(now):
            raise Conflict(UNDER_WAY)
        last = state.value.last
        if state.value.whole:
            return _Before(state, None, {})
        try:
            manifest = await self.reader.manifests.read(tenant, last.id, last.sha256)
        except (Damaged, NotFound) as error:
            # The new set is to be whole without it; the operators' alert looks for this line.
            _log.error("backup.finding %s, %s: %s", tenant, last.id, error.slug)
            telemetry.FINDINGS.add(1, {telemetry.FINDING: "manifest"})
            return _Before(state, None, {})
        return _Before(state, manifest, {})

    async def _wanted(self, tenant: str, changed: Iterable[str], before: _Before) -> list[str]:
        """The partitions in which something changed that belongs into a set."""
        logged = await newest_log_part(self._records, tenant)
        first = 0
        anew = before.state.value.anew if before.state else ()
        names = {MAIN, *changed, *anew}
        if before.manifest is None:
            for months in self._months:
                names.update(await months.of(tenant))
        else:
            known = [part.part for part in before.manifest.parts]
            first = max(
                (n for n in range(logged + 1) if log_part(tenant, n).part in known), default=0
            )
        names |= {log_part(tenant, number).part for number in range(first, logged + 1)}
        wanted: list[str] = []
        for name in sorted(names):
            ref = before.manifest.part(name) if before.manifest and name not in anew else None
            if ref is not None and (index := await self._index(tenant, ref)) is not None:
                before.indexes[name] = index
            if await self.parts.has_news(Partition(tenant, name), before.indexes.get(name)):
                wanted.append(name)
        return wanted

    async def _index(self, tenant: str, ref: PartRef) -> PartIndex | None:
        try:
            return await self.reader.index(tenant, ref)
        except (Damaged, NotFound) as error:
            # The partition is backed up as a whole again.
            _log.error("backup.finding %s, %s: %s", tenant, ref.index, error.slug)
            telemetry.FINDINGS.add(1, {telemetry.FINDING: "index"})
            return None

    async def _clean(self, tenant: str, attempts: Iterable[str]) -> None:
        """Forget what attempts left in key pages that no record names."""
        for attempt in attempts:
            for page in await self.parts.contents.pages.pages_of(tenant, attempt):
                await self.parts.contents.forget_unnamed(tenant, page)

    async def _write_index(
        self, attempt: Attempt, before: PartRef | None, index: PartIndex
    ) -> PartRef:
        content = index.model_dump_json().encode()
        name = self.runtime.new_id("prt")
        await self.reader.store.put(
            object_name(attempt.tenant, "parts", name),
            single(content),
            retain_until=attempt.retain_until,
        )
        return PartRef(
            part=index.part,
            index=name,
            sha256=hashlib.sha256(content).digest(),
            retained_until=min(
                attempt.retain_until, before.retained_until if before else attempt.retain_until
            ),
            under=tuple(dict.fromkeys(segment.under for segment in index.segments)),
            counts=index.counts,
        )

    async def _extend(self, attempt: Attempt, ref: PartRef, index: PartIndex | None) -> PartRef:
        """Retain all that a partition needs for as long as what is new."""
        index = index or await self._index(attempt.tenant, ref)
        if index is None:
            return ref
        names = [
            object_name(attempt.tenant, "parts", ref.index),
            *(object_name(attempt.tenant, "segments", each.id) for each in index.segments),
            *(object_name(attempt.tenant, "packs", each.id) for each in index.packs),
        ]
        for start in range(0, len(names), EXTENDED_AT_ONCE):
            await attempt.renew()
            await asyncio.gather(
                *(
                    self._extend_object(name, attempt.retain_until)
                    for name in names[start : start + EXTENDED_AT_ONCE]
                )
            )
        return ref.model_copy(update={"retained_until": attempt.retain_until})

    async def _extend_object(self, name: str, until: datetime) -> None:
        try:
            await self.reader.store.extend(name, until)
        except NotFound:
            # The set is made all the same: it holds what there is, and the verification says what not.
            _log.error("backup.finding %s is missing", name)
            telemetry.FINDINGS.add(1, {telemetry.FINDING: "object"})

    async def _sealed_under(
        self, tenant: str, current: str, refs: Iterable[PartRef], before: Manifest | None
    ) -> tuple[SealedUnder, ...]:
        """The keys that the segments of some partitions are sealed under."""
        known = {key.id: key for key in before.keys} if before else {}
        kept = (await self._keys.get(Partition(tenant), current)).value
        known[current] = SealedUnder(
            id=current,
            name=tenant_key_name(tenant),
            version=kept.key_version,
            wrapped_key=kept.wrapped_key,
        )
        used = {current}.union(*(ref.under for ref in refs))
        return tuple(key for name, key in known.items() if name in used)
