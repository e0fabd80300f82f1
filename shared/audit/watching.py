"""New entries go through the rules, in the order of the log; what they find becomes an alert.

An alert is an entry, an event with ids alone and, where it is critical, a line that the operators' alert
looks for. Networks are remembered as hashes under a key that is sealed under one of the tenant's.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from shared.audit.reporting import MonitorRecord
from shared.audit.rules import Act, Rule
from shared.audit.sealing import EntrySealer
from shared.audit.windows import (
    WATCH_ID,
    Raised,
    WatchState,
    Windows,
    use_network,
    watch_states,
)
from shared.base.errors import Damaged
from shared.base.events import AlertData, Event, EventType
from shared.base.ids import is_id
from shared.base.partitions import OPERATOR, Partition
from shared.crypto.metadata import metadata_associated_data, open_metadata, seal_metadata
from shared.journal.collections import Collection, Stored
from shared.journal.entries import Action, Entry, SealedFacts
from shared.journal.journal import Journal
from shared.policy.models import StaffAccess, TenantPolicy
from shared.ports.records import Change, RecordStore

LOOK_BACK: Final = timedelta(days=7)
"""Older entries raise no alert: the monitor reads them for the first time, or again after a restore."""

MAX_ALERTS: Final = 20
"""Of one piece of a log: an entry and an event each, in one commit."""

SALT_BYTES: Final = 32

_WITH_ADDRESS: Final = frozenset({Action.SIGN_IN, Action.REQUEST, Action.REQUESTS_REFUSED})

_LESS: Final = (
    "trash_days",
    "hourly",
    "daily",
    "monthly",
    "yearly",
    "legal_hold",
    "staff_access",
)
"""Numbers of a policy that protect less when they are lower."""

_log = logging.getLogger("strongroom.audit")


@dataclass(slots=True)
class Watch:
    """Puts entries through the rules.

    Attributes:
        records: Where the rules remember.
        journal: Makes the entries and events of alerts.
        sealer: Opens the addresses of entries.
        rules: The rules.
    """

    records: RecordStore
    journal: Journal
    sealer: EntrySealer
    rules: Sequence[Rule]
    _states: Collection[WatchState] = field(init=False)

    def __post_init__(self) -> None:
        self._states = watch_states(self.records)

    async def judge(self, record: MonitorRecord, entries: Sequence[Entry]) -> None:
        """Put entries through the rules; commit what they found together with the monitor's state.

        Raises:
            Conflict: Another process is looking at the same log.
            Unavailable: The record store or the key vault does not respond.
        """
        counted = [entry for entry in entries if entry.action is not Action.AUDIT_ALERT]
        if not counted:
            await record.save()
            return
        partition = Partition(record.tenant)
        stored = await self._states.find(partition, WATCH_ID)
        state = stored.value if stored else WatchState()
        salt, state = await self._salt(record.tenant, state)
        windows = Windows(dict(state.windows))
        networks, policy = dict(state.networks), dict(state.policy)
        raised: list[Raised] = []
        since = self.sealer.runtime.now() - LOOK_BACK
        for entry in await self._opened(record.tenant, counted):
            act = _act(entry, salt, networks, policy)
            for rule in self.rules:
                if entry.time >= since and rule.matches(act):
                    alert = windows.count(rule, act)
                    raised += [alert] if alert else []
        after = state.model_copy(
            update={"windows": windows.bounded(), "networks": networks, "policy": policy}
        )
        await self._commit(record, stored, after, raised)

    async def _commit(
        self,
        record: MonitorRecord,
        stored: Stored[WatchState] | None,
        after: WatchState,
        raised: Sequence[Raised],
    ) -> None:
        changes: list[Change] = []
        if stored is None:
            changes.append(self._states.create(Partition(record.tenant), after))
        elif stored.value != after:
            changes.append(self._states.replace(stored, after))
        alerts = [(each, *self._alert(record.tenant, each)) for each in raised[:MAX_ALERTS]]
        await record.save(
            changes,
            [alert for _, alert, _ in alerts],
            [event for each, _, event in alerts if record.tenant != OPERATOR or not each.rule.told],
        )
        for each in raised:
            if each.rule.severity == "critical" and not each.rule.told:
                # The operators' alert looks for this line.
                _log.error("audit.alert in the log of %s: %s", record.tenant, each.rule.name)

    def _alert(self, tenant: str, raised: Raised) -> tuple[Entry, Event]:
        rule, entry = raised.rule, raised.act.entry
        user = next((one for one in (entry.actor.id, entry.resource) if is_id(one, "usr")), "")
        seconds = int(rule.window.total_seconds())
        alert = self.journal.entry(
            Action.AUDIT_ALERT,
            user,
            tenant=tenant,
            details={
                "rule": rule.name,
                "severity": rule.severity,
                "count": raised.count,
                "seconds": seconds,
                "entry": entry.id,
            },
        )
        data = AlertData(
            rule=rule.name,
            severity=rule.severity,
            count=raised.count,
            seconds=seconds,
            user=user,
        )
        return alert, self.journal.event(EventType.AUDIT_ALERT, tenant, alert.id, data)

    async def _opened(self, tenant: str, entries: Sequence[Entry]) -> list[Entry]:
        """The entries, those whose network matters with their addresses."""
        wanted = [entry for entry in entries if entry.action in _WITH_ADDRESS]
        opened = {entry.id: entry for entry in await self.sealer.open(tenant, wanted)}
        return [opened.get(entry.id, entry) for entry in entries]

    async def _salt(self, tenant: str, state: WatchState) -> tuple[bytes | None, WatchState]:
        """The key of the hashes of networks, and the state with it; None if the tenant's keys are gone."""
        bound = metadata_associated_data(self.sealer.environment, tenant, "audit", WATCH_ID)
        try:
            if state.salt is not None:
                epoch = state.salt.epoch
                keys = await self.sealer.epochs.of_all(tenant, [epoch])
                if epoch not in keys:
                    return None, state
                opened = open_metadata(keys[epoch].key, bound, state.salt.data)
                return bytes.fromhex(str(opened["salt"])), state
            newest = await self.sealer.epochs.any(tenant)
        except Damaged:
            return None, state
        salt = self.sealer.runtime.random(SALT_BYTES)
        data = seal_metadata(newest.key, bound, {"salt": salt.hex()}, self.sealer.runtime.random)
        sealed = SealedFacts(epoch=newest.id, data=data)
        return salt, state.model_copy(update={"salt": sealed})


def _act(
    entry: Entry,
    salt: bytes | None,
    networks: dict[str, dict[str, int]],
    policy: dict[str, int],
) -> Act:
    """An entry with what is known beside it; networks and policy learn from it."""
    network = hash_of_network(entry.address, salt) if salt and entry.address else ""
    allowed = entry.outcome == "allowed"
    is_new = weakens = False
    if network and allowed and entry.action is Action.SIGN_IN:
        is_new = use_network(networks, entry.actor.id, network, entry.time)
    if allowed and entry.action is Action.POLICY_CHANGE:
        numbers = {name: n for name, n in entry.details.items() if isinstance(n, int)}
        if isinstance(access := entry.details.get("staff_access"), str):
            numbers["staff_access"] = _rank(access)
        weakens = _is_weaker(numbers, _DEFAULTS | policy)
        policy.update(numbers)
    return Act(entry, network, is_new, weakens)


def hash_of_network(address: str, salt: bytes) -> str:
    """What stands for the network of an address, a /24 or an IPv6 /48, under a secret key."""
    try:
        width = 48 if ":" in address else 24
        network = str(ipaddress.ip_network((address, width), strict=False))
    except ValueError:
        return ""
    return hmac.digest(salt, network.encode(), "sha256").hex()[:16]


def _is_weaker(numbers: dict[str, int], before: dict[str, int]) -> bool:
    lower = any(numbers.get(name, before[name]) < before[name] for name in _LESS)
    name = "verification_days"
    return lower or numbers.get(name, before[name]) > before[name]


def _numbers(policy: TenantPolicy) -> dict[str, int]:
    return {
        "trash_days": policy.trash_days,
        **policy.retention.model_dump(),
        "verification_days": policy.verification_days,
        "legal_hold": int(policy.legal_hold),
        "staff_access": _rank(policy.staff_access),
    }


def _rank(access: str) -> int:
    """How much a policy of staff access protects; 0: the least, and what is unknown."""
    return next((rank for rank, each in enumerate(StaffAccess) if each == access), 0)


_DEFAULTS: Final = _numbers(TenantPolicy())
