"""The walk of one verification: piece by piece, each kept as done only once all of it was done.

It can end anywhere and be continued by any process: the piece that was under way is done again. First come
the sets, from the newest to the oldest; then the content of all versions, and with it the primary and
the replica store; then the key pages. Of one set, its objects and its content alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from shared.backup.models import Erasable, Manifest
from shared.base.errors import Damaged, NotFound
from shared.base.partitions import MAIN, Partition
from shared.documents.store import StoredVersion
from shared.ports.clock import Runtime
from shared.verification.batches import VersionBatches
from shared.verification.content_checks import ContentChecks, Scope, id_of
from shared.verification.findings import Checked, Flawed, Position, Verification
from shared.verification.manifest_checks import MISSING, ManifestChecks
from shared.verification.recording import VerificationRecord
from shared.verification.repairs import Repairs
from shared.verification.scanning import LocationScan
from shared.verification.set_checks import Inventory, SetChecks

STEP_BYTES: Final = 64 << 20
"""A piece of a set ends once so much was read for it."""

PAGES_AT_ONCE: Final = 4
"""Key pages of one piece."""

MANIFESTS_HELD: Final = 3
"""Manifests that are kept in memory."""

SAMPLE: Final = 0.01
"""The share of versions that are opened with their keys."""

SAMPLE_LEAST: Final = 20

_MONTH: Final = re.compile(r"\d{4}-\d{2}")


@dataclass(frozen=True, slots=True)
class WalkTools:
    """What walks are made with.

    Attributes:
        manifests: Checks manifests.
        sets: Checks what they name.
        contents: Checks content.
        repairs: Repairs what is found.
        runtime: Time, and randomness for the sample.
    """

    manifests: ManifestChecks
    sets: SetChecks
    contents: ContentChecks
    repairs: Repairs
    runtime: Runtime


@dataclass(slots=True)
class Walk:
    """One verification while it is worked on.

    Attributes:
        tools: What it is made with.
        record: The verification.
        read: How many bytes were read.
    """

    tools: WalkTools
    record: VerificationRecord
    read: int = field(init=False, default=0)
    _batches: VersionBatches = field(init=False)
    _inventory: Inventory | None = field(init=False, default=None)
    _sets: list[str] | None = field(init=False, default=None)
    _pages: list[str] | None = field(init=False, default=None)
    _manifests: dict[str, Manifest | None] = field(init=False, default_factory=dict)
    _scan: LocationScan | None = field(init=False, default=None)
    _key_pages: dict[str, Mapping[str, Erasable]] = field(
        init=False, default_factory=dict, repr=False
    )
    _packs_of: tuple[str, set[str]] = field(init=False, default=("", set()))

    def __post_init__(self) -> None:
        self._batches = VersionBatches(self.tools.contents.store)

    @property
    def tenant(self) -> str:
        """Whose backups are verified."""
        return self.record.stored.partition.tenant

    async def step(self) -> bool:
        """Do the next piece; False: that was the last one.

        Raises:
            Conflict: Another process works on it, or a set is being made; the next run goes on.
            Unavailable: A store or the key vault does not respond; the next run goes on.
        """
        checked, value = Checked(), self.record.value
        if not value.last:
            await self._begin(checked)
            return True
        match value.position.stage:
            case "sets":
                position = await self._check_sets(value, checked)
            case "content":
                position = await self._check_contents(value, checked)
            case "pages":
                position = await self._check_pages(value, checked)
        self.read += checked.bytes
        await self._settle(checked)
        if position is None:
            await self.record.end(checked)
        else:
            await self.record.progress(checked, position)
        return position is not None

    async def _begin(self, checked: Checked) -> None:
        """Note the newest set, and how much there is to do."""
        tools, only = self.tools, self.record.value.set
        state = await tools.contents.newest.state(self.tenant)
        sets = await tools.sets.reader.sets(self.tenant)
        last = only or (sets[-1] if sets else state.last.id if state.last else "")
        if only is None and state.last is not None and state.last.id not in sets:
            checked.add("manifest", f"sets/{state.last.id}", MISSING)
            checked.flawed.append(Flawed(MAIN, state.last.id))
        manifest = await self._manifest(last)
        versions = 0 if manifest is None else manifest.counts.versions
        if only is None:
            self._inventory = await tools.sets.inventory(self.tenant)
            pages = await tools.contents.contents.pages.pages_of(self.tenant)
            total = len(sets) + len(self._inventory.objects) + 3 * versions + len(pages)
        else:
            total = 1 + versions + await self._size_of(manifest)
        await self._settle(checked)
        await self.record.begin(last or "none", total, versions)

    async def _size_of(self, manifest: Manifest | None) -> int:
        """How many objects a set names."""
        total = 0
        for ref in () if manifest is None else manifest.parts:
            try:
                index = await self.tools.sets.reader.index(self.tenant, ref)
            except (Damaged, NotFound):
                continue  # its check says so
            total += 1 + len(index.segments) + len(index.packs)
        return total

    async def _check_sets(self, value: Verification, checked: Checked) -> Position | None:
        """Check one set, or a part of it."""
        position, contents = value.position, Position(stage="content")
        if self._sets is None:
            sets = await self.tools.sets.reader.sets(self.tenant)
            self._sets = [value.set] if value.set else [name for name in sets if name <= value.last]
        waiting = [name for name in self._sets if not position.set or name <= position.set]
        if not waiting:
            return contents
        name, later = waiting[-1], self._sets[len(waiting) : len(waiting) + 1]
        after = await self._manifest(later[0]) if later else None
        done = position.after if name == position.set else ""
        manifest = (
            await self._manifest(name)
            if done
            else await self.tools.manifests.check(self.tenant, name, after, checked)
        )
        if self._inventory is None:
            self._inventory = await self.tools.sets.inventory(self.tenant)
        for ref in () if manifest is None else manifest.parts:
            if ref.part > done and manifest is not None:
                await self.tools.sets.part(self._inventory, manifest, ref, after, checked)
                if checked.bytes >= STEP_BYTES:
                    return Position(stage="sets", set=name, after=ref.part)
        return Position(stage="sets", set=waiting[-2]) if len(waiting) > 1 else contents

    async def _check_contents(self, value: Verification, checked: Checked) -> Position | None:
        """Check one batch of versions."""
        position, manifest = value.position, await self._manifest(value.last)
        if value.set is None:
            months = await self.tools.contents.store.months.of(self.tenant)
        else:
            parts = () if manifest is None else manifest.parts
            months = [ref.part for ref in parts if _MONTH.fullmatch(ref.part)]
        month = next((each for each in months if each >= position.part), None)
        if month is None:
            return None if value.set else Position(stage="pages")
        if month != position.part:
            position = Position(stage="content", part=month)
        partition = Partition(self.tenant, month)
        if self._scan is None or self._scan.partition != partition:
            records = self.tools.contents.store.records
            self._scan = LocationScan(records, partition, position.locations)
        batch = await self._batches.read(partition, position.page, position.after)
        for record in batch.damaged:
            checked.add("record", record, "The record cannot be read; restore the document.")
        packs = await self._packs(manifest, month) if value.set else None
        sample = self._sample(batch.versions)
        checked.versions, checked.opened = len(batch.versions), len(sample)
        scope = Scope(partition, packs, manifest, sample, self._scan, self._key_pages)
        await self.tools.contents.check(scope, batch.versions, checked)
        if batch.more:
            return Position(
                stage="content",
                part=month,
                page=batch.page,
                locations=self._scan.cursor,
                after=batch.after,
            )
        return Position(stage="content", part=f"{month}~")

    async def _packs(self, manifest: Manifest | None, part: str) -> set[str]:
        """The packs that a set has of a partition."""
        if self._packs_of[0] == part:
            return self._packs_of[1]
        ref = None if manifest is None else manifest.part(part)
        try:
            index = None if ref is None else await self.tools.sets.reader.index(self.tenant, ref)
        except (Damaged, NotFound):
            return set()  # its check says so
        packs = set() if index is None else {pack.id for pack in index.packs}
        self._packs_of = (part, packs)
        return packs

    def _sample(self, versions: Sequence[StoredVersion]) -> set[str]:
        """Choose the versions to open: each with the same chance, the wanted number of them in all.

        This is selection sampling (Knuth, The Art of Computer Programming, volume 2, algorithm S).
        """
        value = self.record.value
        wanted = max(SAMPLE_LEAST, math.ceil(SAMPLE * value.total_versions))
        seen, opened, chosen = value.seen_versions, value.opened_versions, set[str]()
        for each in versions:
            left = max(1, value.total_versions - seen)
            if self.tools.runtime.fraction() * left < wanted - opened:
                chosen.add(id_of(each))
                opened += 1
            seen += 1
        return chosen

    async def _check_pages(self, value: Verification, checked: Checked) -> Position | None:
        """Check some key pages: they hold nothing that no location names there."""
        contents = self.tools.contents.contents
        if self._pages is None:
            self._pages = sorted(await contents.pages.pages_of(self.tenant))
        left = [page for page in self._pages if page > value.position.after]
        # Read after the pages were listed: an attempt that is not under way by now has all locations.
        state = await self.tools.contents.newest.state(self.tenant)
        for page in left[:PAGES_AT_ONCE]:
            if page.partition("/")[0] in {state.attempt, *state.unfinished}:
                continue  # the next set looks it through
            checked.objects += 1
            try:
                # Twice: what was being forgotten at the first time is gone at the second.
                leaked = await contents.unnamed(self.tenant, page)
                leaked = leaked and await contents.unnamed(self.tenant, page)
                # Also what a process that was forgetting left behind when it ended.
                await contents.pages.forget(self.tenant, page, ())
            except Damaged:
                checked.add("key-page", page, "It is not what was written; it is made anew.")
                checked.pages.add(page)
                continue
            if leaked:
                detail = f"It holds keys of {len(leaked)} versions that nothing names; forgotten."
                checked.add("leak", page, detail)
                checked.leaks.add(page)
        if len(left) <= PAGES_AT_ONCE:
            return None
        return Position(stage="pages", after=left[PAGES_AT_ONCE - 1])

    async def _manifest(self, name: str) -> Manifest | None:
        """The manifest of a set that is checked for itself; None: it cannot be read."""
        if name not in self._manifests:
            try:
                found = await self.tools.sets.reader.manifests.read(self.tenant, name)
            except (Damaged, NotFound):
                found = None
            if len(self._manifests) > MANIFESTS_HELD:
                self._manifests.clear()
            self._manifests[name] = found
        return self._manifests[name]

    async def _settle(self, checked: Checked) -> None:
        """Report what was found, then repair it: what is done again later is not reported twice."""
        for finding in checked.findings:
            await self.record.report(finding)
        await self.tools.repairs.apply(self.tenant, checked)
