"""The journal: the one way to change a tenant's records, so that nothing happens without its audit entry.

A change, its audit entry and the events it causes are one atomic commit. When ``commit`` returns, all
of it is durable; the events are on their way.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

from shared.access.principal import Origin, Principal
from shared.base import telemetry
from shared.base.errors import FAILURES, Conflict, Interrupted, StrongroomError
from shared.base.events import Event, EventData, EventType, NoData
from shared.base.models import Model, UtcDatetime
from shared.base.partitions import OPERATOR, Partition, partition_of
from shared.crypto.canonical import canonical_json
from shared.journal.catalogue.table import check_described
from shared.journal.collections import Collection
from shared.journal.entries import (
    MAX_DETAILS_BYTES,
    SYSTEM,
    Action,
    Actor,
    Details,
    Entry,
    Outcome,
)
from shared.journal.outbox import Outbox
from shared.journal.waiting import create_waiting
from shared.ports.clock import Runtime
from shared.ports.records import Change, RecordStore

COPIED_KIND: Final = "audit-copied"

COPIES_KNOWN: Final = timedelta(days=30)
"""Longer than an entry can wait to be appended to its log."""


class Copied(Model):
    """That an entry of another log was put into this one.

    Attributes:
        id: Of the entry.
        expires_at: When nobody tries again any more.
    """

    id: str
    expires_at: UtcDatetime


class Journal:
    """Commits changes together with their audit entries and events.

    Args:
        records: The record store.
        outbox: Publishes the events.
        environment: Bound into every event.
        runtime: Time, and randomness for ids.
    """

    def __init__(
        self, records: RecordStore, outbox: Outbox, environment: str, runtime: Runtime
    ) -> None:
        self._records = records
        self._outbox = outbox
        self._environment = environment
        self._runtime = runtime
        self._copied = Collection(
            records,
            Copied,
            COPIED_KIND,
            lambda copied: copied.id,
            expires_at=lambda c: c.expires_at,
        )

    def entry(
        self,
        action: Action,
        resource: str = "",
        *,
        by: Principal | Actor = SYSTEM,
        tenant: str | None = None,
        origin: Origin | None = None,
        refused: str = "",
        failed: str = "",
        grant: str = "",
        details: Details | None = None,
    ) -> Entry:
        """An audit entry for the present moment.

        Args:
            action: What was done or tried.
            resource: The id of what it was done to.
            by: Who did it; for a principal, tenant and origin are the principal's.
            tenant: Whose log it goes to, where ``by`` does not say.
            origin: Where the request came from, where ``by`` does not say.
            refused: The slug of the error that refused it.
            failed: The slug of the error that made it fail.
            grant: The id of the staff grant that it is about; for a principal who acts under one, that one.
            details: Facts that are neither secret nor a name.

        Raises:
            ValueError: Nobody says to whose log it or its copy belongs, it is not as the catalogue says, or
                its details are too large.
        """
        details = details or {}
        outcome: Outcome = "refused" if refused else "failed" if failed else "allowed"
        check_described(action, outcome, details)
        if len(canonical_json(details)) > MAX_DETAILS_BYTES:
            raise ValueError(
                f"the details of an audit entry have at most {MAX_DETAILS_BYTES} bytes"
            )
        if isinstance(by, Principal):
            tenant = tenant or by.tenant
            origin = origin or by.origin
            grant = grant or by.grant
            by = Actor(kind=by.kind, id=by.user)
        if tenant is None:
            raise ValueError("an audit entry belongs to a tenant")
        if grant and tenant == OPERATOR and "tenant" not in details:
            raise ValueError("an entry about a grant says in whose log its copy belongs")
        origin = origin or Origin()
        now = self._runtime.now()
        return Entry(
            id=self._runtime.new_id("aud", now),
            time=now,
            tenant=tenant,
            actor=by,
            action=action,
            resource=resource,
            outcome=outcome,
            reason=refused or failed,
            address=origin.address,
            user_agent=origin.user_agent,
            request=origin.request,
            grant=grant,
            trace=origin.traceparent.split("-")[1] if origin.traceparent else "",
            details=details,
        )

    async def record_failure(
        self,
        error: StrongroomError,
        action: Action,
        resource: str = "",
        *,
        by: Principal | Actor,
        tenant: str | None = None,
        origin: Origin | None = None,
        grant: str = "",
        details: Details | None = None,
    ) -> None:
        """Put into the audit log what an error refused or made fail, unless it is there already.

        Args:
            error: What is about to be raised to the client.
            action: As for ``entry``, and so are the others.
            resource: See ``entry``.
            by: See ``entry``.
            tenant: See ``entry``.
            origin: See ``entry``.
            grant: See ``entry``.
            details: See ``entry``.
        """
        if error.audited:
            return
        failed = isinstance(error, (*FAILURES, Interrupted))
        entry = self.entry(
            action,
            resource,
            by=by,
            tenant=tenant,
            origin=origin,
            refused="" if failed else error.slug,
            failed=error.slug if failed else "",
            grant=grant,
            details=details,
        )
        await self.commit(entry)
        error.audited = True

    def event(
        self,
        event_type: EventType,
        tenant: str,
        subject: str,
        data: EventData | None = None,
        traceparent: str | None = None,
    ) -> Event:
        """An event of the present time, in the partition of its subject.

        Args:
            event_type: What happened.
            tenant: Whose it is.
            subject: The id of what it happened to.
            data: As ``shared.base.events.DATA`` has it for the type; None: ``NoData``.
            traceparent: Of the request that caused it, for where no span is under way.
        """
        now = self._runtime.now()
        return Event(
            id=self._runtime.new_id("evt", now),
            type=event_type,
            environment=self._environment,
            partition=partition_of(tenant, subject),
            subject=subject,
            time=now,
            data=data or NoData(),
            traceparent=telemetry.current_traceparent() or traceparent,
        )

    async def commit(
        self,
        entry: Entry,
        changes: Sequence[Change] = (),
        events: Sequence[Event] = (),
        partition: Partition | None = None,
    ) -> None:
        """Make a change durable together with its audit entry and its events.

        Args:
            entry: Its tenant and its resource name the partition of everything in the commit.
            changes: To the records of that partition.
            events: That the change causes, of the same partition.
            partition: Of everything, where it is another one of the same tenant.

        Raises:
            Conflict: The state has moved on; nothing was changed and no entry was made.
        """
        partition = partition or partition_of(entry.tenant, entry.resource)
        await self._outbox.prepare(partition)
        await self._records.commit(partition, [*changes, create_waiting(partition, entry, events)])
        self._outbox.schedule_publish(events)
        self._outbox.announce_entry(partition, entry.id)

    async def commit_together(
        self,
        partition: Partition,
        entries: Sequence[Entry],
        changes: Sequence[Change],
        events: Sequence[Event],
    ) -> None:
        """Make many changes durable, each with its audit entry; entries and events are left to the relay.

        For mass changes that nobody waits to take effect elsewhere.

        Args:
            partition: Of everything in the commit.
            entries: 1 or more; the first one holds the events.
            changes: As for ``commit``.
            events: That the changes cause.

        Raises:
            Conflict: The state has moved on; nothing was changed and no entry was made.
        """
        await self._outbox.prepare(partition)
        await self._records.commit(
            partition,
            [
                *changes,
                create_waiting(partition, entries[0], events),
                *(create_waiting(partition, entry) for entry in entries[1:]),
            ],
        )

    async def copy(self, entry: Entry, tenant: str) -> None:
        """Put an entry that is about a staff grant into another log as well, once.

        Args:
            entry: As it was committed.
            tenant: Whose log.
        """
        copy = entry.model_copy(update={"tenant": tenant, "source": entry.tenant})
        partition = partition_of(tenant, entry.resource)
        await self._outbox.prepare(partition)
        with suppress(Conflict):  # it is there, or was, until it was appended to the log
            await self._records.commit(
                partition,
                [
                    create_waiting(partition, copy),
                    self._copied.create(
                        partition,
                        Copied(id=entry.id, expires_at=self._runtime.now() + COPIES_KNOWN),
                    ),
                ],
            )
            self._outbox.announce_entry(partition, copy.id)

    async def announce(self, partition: Partition, events: Sequence[Event]) -> None:
        """Make events durable whose cause was committed with its audit entry before.

        Args:
            partition: Of the events.
            events: 1 to ``MAX_CHANGES``.
        """
        await self._outbox.prepare(partition)
        await self._records.commit(partition, self._outbox.changes(partition, events))
        self._outbox.schedule_publish(events, recorded=True)

    async def ensure_published(self, partition: Partition, events: Sequence[str]) -> None:
        """Publish events of entries that are about to move into their log; see ``Outbox``.

        Raises:
            Unavailable: The bus, or the record store, does not respond.
        """
        await self._outbox.ensure_published(partition, events)
