"""The journal: the one way to change a tenant's records, so that nothing happens without its audit entry.

A change, its audit entry and the events it causes are one atomic commit. When ``commit`` returns, all
of it is durable; the events are on their way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shared.access.principal import Origin, Principal
from shared.base.errors import FAILURES, StrongroomError
from shared.base.events import Event, EventType
from shared.base.ids import new_id
from shared.base.models import JsonObject
from shared.journal.entries import SYSTEM, Action, Actor, Entry
from shared.journal.outbox import Outbox
from shared.ports.clock import Clock, Entropy
from shared.ports.records import Change, Create, Record, RecordStore

ENTRY_KIND: Final = "audit"
PENDING: Final = {"state": "pending"}

Details = dict[str, str | int | list[str]]


class Journal:
    """Commits changes together with their audit entries and events.

    Args:
        records: The record store.
        outbox: Publishes the events.
        environment: Bound into every event.
        clock: Time.
        entropy: Randomness for ids.
    """

    def __init__(
        self,
        records: RecordStore,
        outbox: Outbox,
        environment: str,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._records = records
        self._outbox = outbox
        self._environment = environment
        self._clock = clock
        self._entropy = entropy

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
            details: Facts that are neither secret nor a name.
        """
        if isinstance(by, Principal):
            tenant = tenant or by.tenant
            origin = origin or by.origin
            by = Actor(kind=by.kind, id=by.user)
        if tenant is None:
            raise ValueError("an audit entry belongs to a tenant")
        origin = origin or Origin()
        now = self._clock.now()
        return Entry(
            id=new_id("aud", now, self._entropy),
            time=now,
            tenant=tenant,
            actor=by,
            action=action,
            resource=resource,
            outcome="refused" if refused else "failed" if failed else "allowed",
            reason=refused or failed,
            address=origin.address,
            trace=origin.traceparent.split("-")[1] if origin.traceparent else "",
            details=details or {},
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
        details: Details | None = None,
    ) -> None:
        """Put into the audit log what an error refused or failed, unless it is there already.

        Args:
            error: What is about to be answered.
            action: As for ``entry``, and so are the others.
            resource: As said.
            by: As said.
            tenant: As said.
            origin: As said.
            details: As said.
        """
        if error.audited:
            return
        failed = isinstance(error, FAILURES)
        entry = self.entry(
            action,
            resource,
            by=by,
            tenant=tenant,
            origin=origin,
            refused="" if failed else error.slug,
            failed=error.slug if failed else "",
            details=details,
        )
        await self.commit(entry)
        error.audited = True

    def event(
        self,
        event_type: EventType,
        tenant: str,
        subject: str,
        data: JsonObject | None = None,
        traceparent: str | None = None,
    ) -> Event:
        """An event of the present moment."""
        now = self._clock.now()
        return Event(
            id=new_id("evt", now, self._entropy),
            type=event_type,
            environment=self._environment,
            tenant=tenant,
            subject=subject,
            time=now,
            data=data or {},
            traceparent=traceparent,
        )

    async def commit(
        self, entry: Entry, changes: Sequence[Change] = (), events: Sequence[Event] = ()
    ) -> None:
        """Make a change durable together with its audit entry and its events.

        Args:
            entry: Its tenant is the partition of everything in the commit.
            changes: To the records of that tenant.
            events: That the change causes, of the same tenant.

        Raises:
            Conflict: The state has moved on; nothing was changed and no entry was made.
        """
        if not events:
            events = [self.event(EventType.AUDIT_RECORDED, entry.tenant, entry.id)]
        index = PENDING | ({"resource": entry.resource} if entry.resource else {})
        record = Record(
            entry.tenant,
            ENTRY_KIND,
            entry.id,
            {"entry": entry.model_dump(mode="json"), "position": None},
            index=index,
        )
        await self._records.commit(
            entry.tenant, [*changes, Create(record), *Outbox.changes(events)]
        )
        self._outbox.schedule_publish(events)
