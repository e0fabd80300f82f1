"""Time stamps of logs: an authority states when a log's newest checkpoint existed."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus

from cryptography.x509 import Certificate

from shared.attestation.models import TIMESTAMP_ID, StampedLog, stamped_logs
from shared.audit.models import LogCheckpoint
from shared.base.errors import Unavailable
from shared.base.leases import lasts
from shared.base.partitions import Partition
from shared.crypto.timestamps import (
    REPLY_TYPE,
    REQUEST_TYPE,
    TimestampError,
    request_timestamp,
    verify_timestamp,
)
from shared.journal.collections import Collection
from shared.ports.clock import Runtime
from shared.ports.posting import Poster
from shared.ports.records import RecordStore

_log = logging.getLogger("strongroom.audit")


@dataclass(frozen=True, slots=True)
class Authority:
    """A time stamp authority (RFC 3161).

    Attributes:
        url: Where it takes requests.
        roots: What its certificate must chain to.
        every: How often a log that grows gets a time stamp.
    """

    url: str
    roots: tuple[Certificate, ...]
    every: timedelta


@dataclass(slots=True)
class Stamps:
    """Has checkpoints stamped.

    Attributes:
        records: Where time stamps are kept.
        poster: Posts to the authority.
        authority: Who states the time.
        runtime: Time.
    """

    records: RecordStore
    poster: Poster
    authority: Authority
    runtime: Runtime
    _logs: Collection[StampedLog] = field(init=False)

    def __post_init__(self) -> None:
        self._logs = stamped_logs(self.records)

    async def take(self, tenant: str, newest: LogCheckpoint, silent: set[str]) -> datetime | None:
        """Have a log's newest checkpoint stamped, if that is due.

        Args:
            tenant: Whose log.
            newest: Its newest checkpoint.
            silent: URLs where nothing responded in this run; they are not asked, and more are added.

        Returns:
            When to look at the log again; None: when it has grown.

        Raises:
            Conflict: Another process has asked at the same time.
            Unavailable: The record store does not respond.
        """
        now = self.runtime.now()
        partition = Partition(tenant)
        stored = await self._logs.find(partition, TIMESTAMP_ID)
        known = stored.value if stored else StampedLog()
        if known.note == newest.note:
            return None
        if known.stamped_at is not None:
            due = known.stamped_at + self.authority.every
            if lasts(due, now, self.authority.every):
                return due
        if known.waits(now):
            return known.next_at
        if self.authority.url in silent:
            return now
        stamped = await self._stamp(known, newest, silent)
        await self.records.commit(
            partition,
            [self._logs.put(partition, stored, stamped)],
        )
        return stamped.next_at

    async def _stamp(
        self, known: StampedLog, newest: LogCheckpoint, silent: set[str]
    ) -> StampedLog:
        """The newest checkpoint with its time stamp, or what was known and one failure more."""
        note = newest.note.encode()
        request = request_timestamp(note)
        try:
            response = await self.poster.post(self.authority.url, REQUEST_TYPE, request.data)
            if response.status != HTTPStatus.OK or response.media_type != REPLY_TYPE:
                raise TimestampError(f"the status {response.status}, or not a time stamp")
            verify_timestamp(response.body, note, self.authority.roots, request.nonce)
        except Unavailable as error:
            silent.add(self.authority.url)
            _log.warning("audit.timestamp-unavailable: %s", error.detail)
            return known.failed(self.runtime.now())
        except TimestampError as error:
            _log.warning("audit.timestamp-refused: %s", error)
            return known.failed(self.runtime.now())
        return StampedLog(
            size=newest.tree.size,
            note=newest.note,
            reply=response.body,
            stamped_at=self.runtime.now(),
        )
