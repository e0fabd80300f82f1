"""Finishing a review: its report is written from the items, signed by the key vault, and kept sealed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from shared.base.errors import Conflict, Damaged
from shared.base.models import encode
from shared.base.partitions import Partition
from shared.journal.agenda import Task
from shared.journal.collections import Stored
from shared.journal.entries import Action
from shared.journal.journal import Journal
from shared.keys.jws import JwsSigner, key_version
from shared.keys.sealing import SealedConfiguration
from shared.ports.clock import Runtime
from shared.ports.keys import KeyVault
from shared.ports.records import Change
from shared.reviews.models import Kind, Phase, ReportPart, Review, SignedReport
from shared.reviews.report import Explained, report
from shared.reviews.rules import count
from shared.reviews.store import ReviewRecords, ReviewTexts, items_of

KEY_NAME: Final = "access-reviews"
"""The key that signs, in the key vault."""

PART_CHARACTERS: Final = 100_000
"""Of a part of a report: sealed, and each character escaped, it fits into a record."""


@dataclass(slots=True)
class Reports:
    """Makes the reports of reviews, and reads them.

    Attributes:
        store: Where reviews lie.
        texts: Open the reasons, and seal the reports.
        journal: Commits the end of a review with its entry.
        key_vault: Signs.
        environment: In the reports.
        runtime: Time.
    """

    store: ReviewRecords
    texts: ReviewTexts
    journal: Journal
    key_vault: KeyVault
    environment: str
    runtime: Runtime
    signer: JwsSigner = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.signer = JwsSigner(self.key_vault, KEY_NAME)

    async def finish(self, stored: Stored[Review]) -> None:
        """Finish a review with nothing left to decide; where an attempt was killed, the next one goes on.

        Raises:
            Conflict: Another process does the same.
            Damaged: A reason is not what was sealed.
            Unavailable: The key vault or the record store does not respond.
        """
        if stored.value.phase is Phase.OPEN:
            # From here on the report is the same, whichever attempt writes it.
            finishing = {"phase": Phase.FINISHING, "finished_at": self.runtime.now()}
            change = self.store.reviews.replace(stored, stored.value.model_copy(update=finishing))
            await self.store.records.commit(stored.partition, [change])
            stored = await self.store.get(stored.value.tenant, stored.value.id)
        review = stored.value
        items = [
            Explained(item.value, await self.texts.reason(review, item.value))
            async for item in self.store.items.scan(items_of(review))
        ]
        content = report(review, self.environment, items)
        parts = await self._keep(review, content.decode())
        signed = await self._signed(content, parts)
        counts = count(each.item for each in items)
        finished = review.model_copy(
            update={"phase": Phase.FINISHED, "counts": counts, "report": signed}
        )
        entry = self.journal.entry(
            Action.REVIEW_FINISH,
            review.id,
            tenant=review.tenant,
            grant=review.grant,
            details={
                "sha256": signed.sha256,
                **counts.model_dump(),
                **({"tenant": review.of} if review.of else {}),
            },
        )
        await self.journal.commit(
            entry,
            [self.store.reviews.replace(stored, finished), *await self._released(review)],
        )

    async def read(self, review: Review) -> bytes:
        """The JSON of a finished review's report.

        Raises:
            Conflict: The review is not finished.
            Damaged: It is not what was signed.
            Unavailable: The key vault or the record store does not respond.
        """
        signed = _signed(review)
        texts = []
        for number in range(signed.parts):
            part = (await self.store.parts.get(items_of(review), f"{number:06}")).value
            sealed = SealedConfiguration(part.epoch, part.sealed)
            texts.append(await self.texts.open(review, f"report-{part.id}", sealed))
        content = "".join(texts).encode()
        if hashlib.sha256(content).hexdigest() != signed.sha256:
            raise Damaged("The report of a review is not the one that was signed.")
        return content

    async def jws(self, review: Review) -> bytes:
        """The report with its signature: a JWS in compact serialization.

        Raises:
            Conflict: As for ``read``, and so are the others.
            Damaged: See ``read``.
            Unavailable: See ``read``.
        """
        signed = _signed(review)
        payload = encode(await self.read(review))
        jws = f"{signed.header}.{payload}.{signed.signature}".encode()
        await self.signer.opened(jws)
        return jws

    async def public_key(self, review: Review) -> str:
        """The public key that checks a report's signature, as PEM; empty where there is no report yet.

        Raises:
            Unavailable: The key vault does not respond.
        """
        if review.report is None:
            return ""
        return (await self.signer.public_key(review.report.key_version)).decode()

    async def _keep(self, review: Review, text: str) -> int:
        starts = range(0, len(text), PART_CHARACTERS)
        for number, start in enumerate(starts):
            name = f"{number:06}"
            piece = text[start : start + PART_CHARACTERS]
            sealed = await self.texts.seal(review, f"report-{name}", piece)
            part = ReportPart(id=name, epoch=sealed.epoch, sealed=sealed.sealed)
            await self.store.put_part(review, part)
        return len(starts)

    async def _signed(self, content: bytes, parts: int) -> SignedReport:
        jws = await self.signer.sign(content)
        header, _, signature = jws.decode().split(".")
        return SignedReport(
            sha256=hashlib.sha256(content).hexdigest(),
            parts=parts,
            header=header,
            signature=signature,
            key_version=key_version(jws),
        )

    async def _released(self, review: Review) -> list[Change]:
        """For a full review: let the next one open."""
        state = await self.store.state(review.tenant)
        if review.kind is not Kind.FULL or state is None or state.value.current != review.id:
            return []
        partition = Partition(review.tenant)
        await self.store.agenda.add(Task.REVIEW, partition, state.value.next_at)
        return [self.store.states.replace(state, state.value.model_copy(update={"current": ""}))]


def _signed(review: Review) -> SignedReport:
    if review.report is None:
        raise Conflict("The review is not finished, so there is no report yet.")
    return review.report
