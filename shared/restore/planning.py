"""Plans of restores: what one would put back, before anything is changed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from shared.backup.snapshot import LOG_PART, PartState
from shared.base.errors import Damaged, NotFound
from shared.base.partitions import MAIN, partition_of
from shared.restore.assessing import Assessor, Run
from shared.restore.jobs import RestorePlan

COMPARED: Final = 1_000
"""A set of up to so many versions is compared document by document, while the caller waits."""

VERSIONS_PER_SECOND: Final = 600
BYTES_PER_SECOND: Final = 100_000_000
"""What a restore does on two cores; ``python -m bench.backup`` measures it."""


@dataclass(slots=True)
class Planner:
    """Plans restores.

    Attributes:
        assessor: Compares documents.
    """

    assessor: Assessor

    async def whole(self, run: Run) -> RestorePlan:
        """The plan of restoring all of a set.

        Raises:
            Damaged: An object of the set is not what was written.
            NotFound: An object of the set is missing.
            Unavailable: A store or the key vault does not respond.
        """
        manifest = run.snapshot.manifest
        counts = manifest.counts
        if run.into or counts.versions > COMPARED:
            return _plan(counts.versions, counts.versions, counts.content_bytes, exact=False)
        tally = _Tally()
        for part in manifest.parts:
            if part.part == MAIN or part.part.startswith(LOG_PART):
                continue
            state = await run.snapshot.part(part.part)
            for document in state.documents():
                await self._add(run, state, document, tally)
        return tally.plan()

    async def one(self, run: Run, document: str, version: int | None) -> RestorePlan:
        """The plan of restoring one document, or one version of it.

        Raises:
            Damaged: As for ``whole``, and so are the others.
            NotFound: The set has no such document or version.
            Unavailable: See ``whole``.
        """
        state = await run.snapshot.part(partition_of(run.tenant, document).part)
        if version is None:
            tally = _Tally()
            await self._add(run, state, document, tally)
            return tally.plan()
        found = await run.snapshot.document(state, document)
        for each in found.versions:
            if each.version.number == version:
                return _plan(1, 1, each.location.size, exact=True)
        raise NotFound("The set does not have this version of the document.")

    async def _add(self, run: Run, state: PartState, document: str, tally: _Tally) -> None:
        tally.documents += 1
        try:
            assessed = await self.assessor.assess(run, state, document)
        except Damaged:
            return  # the restore says so
        tally.versions += len(assessed.versions)
        tally.bytes += sum(each.location.size for each in assessed.versions)
        tally.newer += assessed.step == "newer"
        tally.erased += assessed.step == "erased"


@dataclass(slots=True)
class _Tally:
    documents: int = 0
    versions: int = 0
    bytes: int = 0
    newer: int = 0
    erased: int = 0

    def plan(self) -> RestorePlan:
        return _plan(self.documents, self.versions, self.bytes, exact=True).model_copy(
            update={"skipped_newer": self.newer, "erased": self.erased}
        )


def _plan(documents: int, versions: int, size: int, *, exact: bool) -> RestorePlan:
    seconds = versions / VERSIONS_PER_SECOND + size / BYTES_PER_SECOND
    return RestorePlan(
        documents=documents,
        versions=versions,
        bytes=size,
        expected_seconds=math.ceil(seconds),
        exact=exact,
    )
