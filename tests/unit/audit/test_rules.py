"""The rules: each has what triggers it, and what is just below."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from shared.access.principal import Origin
from shared.audit.rules import WITHOUT_GRANT, rules
from shared.audit.windows import (
    MAX_KEYS,
    MAX_MARKS,
    MAX_USERS,
    WATCH_ID,
    Window,
    Windows,
    use_network,
    watch_states,
)
from shared.base.partitions import OPERATOR, Partition
from shared.journal.entries import ANONYMOUS, SYSTEM, Action, Actor, Entry
from shared.journal.waiting import ENTRY_KIND, read_waiting
from shared.keys.names import tenant_key_name
from shared.wiring.settings import Settings
from tests.support.audit import AuditData
from tests.support.monitored import TENANT, append_entries, new_data
from tests.support.records import waiting

pytestmark = pytest.mark.anyio

USER = Actor(kind="user", id="usr_" + "1" * 26)
OTHER = Actor(kind="user", id="usr_" + "2" * 26)
EMPLOYEE = Actor(kind="employee", id="usr_" + "3" * 26)
DOWNLOADS = Settings().audit_downloads_per_hour
POLICY = {
    "trash_days": 30,
    "hourly": 24,
    "verification_days": 30,
    "legal_hold": 1,
    "staff_access": "consent",
}


class Watched:
    """A log whose new entries go through the rules."""

    def __init__(self, tenant: str = TENANT) -> None:
        self.data: AuditData = new_data()
        self.tenant = tenant
        self.audit, self.journal = self.data.process()

    async def start(self) -> Watched:
        """The tenant has keys."""
        await self.data.vault.create(tenant_key_name(self.tenant), "wrap")
        return self

    def entry(self, action: Action, resource: str = "", **facts: Any) -> Entry:
        facts.setdefault("by", USER)
        address = facts.pop("address", "")
        origin = Origin(address=address)
        return self.journal.entry(action, resource, tenant=self.tenant, origin=origin, **facts)

    async def alerts(self, *entries: Entry) -> Sequence[str]:
        """The rules that these entries raise alerts of."""
        audit = await append_entries(self.data, entries)
        before = len(await self.raised())
        await audit.monitor.look(self.tenant, self.data.clock.now() + timedelta(minutes=1))
        return [str(each["details"]["rule"]) for each in (await self.raised())[before:]]

    async def raised(self) -> list[dict[str, Any]]:
        page = await self.data.records.query(Partition(self.tenant), "audit", limit=1_000)
        found = [waiting(record.body) for record in page.records]
        return [entry for entry in found if entry["action"] == "audit.alert"]

    def later(self, minutes: float) -> None:
        self.data.clock.advance(minutes * 60)


@pytest.fixture
async def log() -> Watched:
    return await Watched().start()


def refused(log: Watched, count: int, **facts: Any) -> list[Entry]:
    return [log.entry(Action.REQUEST, refused="forbidden", **facts) for _ in range(count)]


async def test_many_refusals_of_one_user(log: Watched) -> None:
    assert await log.alerts(*refused(log, 49)) == []
    assert await log.alerts(*refused(log, 40, by=OTHER)) == [], "each user counts alone"
    assert await log.alerts(*refused(log, 1)) == ["refusals"]
    assert await log.alerts(*refused(log, 60)) == [], "once within the window"
    log.later(11)
    assert await log.alerts(*refused(log, 49)) == []
    log.later(11)
    assert await log.alerts(*refused(log, 49)) == [], "those before are too old"


async def test_a_flood_of_refusals_counts_as_many(log: Watched) -> None:
    flood = {"refusals": 48, "seconds": 60}
    entry = log.entry(Action.REQUESTS_REFUSED, refused="rate-limited", details=flood)
    assert await log.alerts(entry) == []
    assert await log.alerts(*refused(log, 2)) == ["refusals"]


async def test_many_refusals_from_one_network() -> None:
    log = await Watched(OPERATOR).start()
    near = [f"203.0.113.{number}" for number in range(50)]
    entries = [
        log.entry(Action.REQUEST, refused="unauthenticated", by=ANONYMOUS, address=each)
        for each in near
    ]
    assert await log.alerts(*entries[:49]) == []
    assert await log.alerts(entries[49]) == ["refusals"]


async def test_refused_sign_ins_of_one_user(log: Watched) -> None:
    def tries(count: int) -> list[Entry]:
        facts: dict[str, Any] = {"refused": "sign-in-refused", "by": ANONYMOUS}
        return [log.entry(Action.SIGN_IN, USER.id, **facts) for _ in range(count)]

    assert await log.alerts(*tries(9)) == []
    assert await log.alerts(*tries(1)) == ["sign-in-refusals"]


async def test_refused_sign_ins_from_one_network(log: Watched) -> None:
    def tries(count: int) -> list[Entry]:
        facts: dict[str, Any] = {"refused": "sign-in-refused", "by": ANONYMOUS}
        facts["address"] = "2001:db8:7:1::5"
        return [log.entry(Action.SIGN_IN, **facts) for _ in range(count)]

    assert await log.alerts(*tries(29)) == []
    assert await log.alerts(*tries(1)) == ["sign-in-refusals-network"]


async def test_access_outside_a_grant(log: Watched) -> None:
    within = log.entry(Action.DOCUMENT_OPEN, by=EMPLOYEE).model_copy(update={"grant": "grn_1"})
    allowed = [within, log.entry(Action.TENANT_CREATE, by=EMPLOYEE), log.entry(Action.BACKUP_READ)]
    assert await log.alerts(*allowed) == []
    assert await log.alerts(log.entry(Action.BACKUP_READ, by=EMPLOYEE)) == ["outside-grant"]


async def test_what_employees_do_about_grants_needs_none(log: Watched) -> None:
    about = [action for action in Action if action.startswith("grant.")]
    assert len(about) > 10

    def act(action: Action) -> Entry:
        entry = log.entry(Action.BACKUP_READ, by=EMPLOYEE)
        return entry.model_copy(update={"action": action})

    assert await log.alerts(*map(act, about)) == []
    for action in sorted(set(Action) - set(about) - WITHOUT_GRANT - {Action.AUDIT_ALERT}):
        log.later(61)
        assert "outside-grant" in await log.alerts(act(action)), action


@pytest.mark.parametrize("tenant", [TENANT, OPERATOR])
async def test_a_broken_glass(tenant: str, caplog: pytest.LogCaptureFixture) -> None:
    """An entry of each log, and an event of the tenant; the operator has had line and event at once."""
    log = await Watched(tenant).start()
    details: dict[str, Any] = {
        "tenant": TENANT,
        "reason_code": "security",
        "scope": "search",
        "depth": "content",
        "operations": ["read"],
        "seconds": 3_600,
    }

    def step(action: Action, grant: str) -> Entry:
        return log.entry(action, by=EMPLOYEE, grant=grant, details=details)

    assert await log.alerts(step(Action.GRANT_REQUEST, "grt_1")) == []
    broken, other = (step(Action.GRANT_BREAK_GLASS, f"grt_{number}") for number in (1, 2))
    assert await log.alerts(broken, other) == ["break-glass"] * 2, "one for each grant"
    assert {each["details"]["severity"] for each in await log.raised()} == {"critical"}
    assert "audit.alert" not in caplog.text
    page = await log.data.records.query(Partition(tenant), ENTRY_KIND, limit=100)
    told = [event for each in page.records for event in read_waiting(each).events]
    assert all("audit.alert" in event for event in told)
    assert len(told) == (0 if tenant == OPERATOR else 2)


async def test_a_new_network_of_a_known_user(log: Watched) -> None:
    def sign_in(address: str, by: Actor = USER) -> Entry:
        return log.entry(Action.SIGN_IN, by.id, by=by, address=address)

    assert await log.alerts(sign_in("203.0.113.7")) == [], "the first one is not new"
    assert await log.alerts(sign_in("203.0.113.200"), sign_in("198.51.100.1", OTHER)) == []
    assert await log.alerts(sign_in("198.51.100.1")) == ["new-network"]
    log.later(60 * 24 * 80)
    assert await log.alerts(sign_in("203.0.113.9")) == []
    log.later(60 * 24 * 80)
    assert await log.alerts(sign_in("198.51.100.1")) == ["new-network"], "not for 90 days"


async def test_mass_download(log: Watched) -> None:
    def opened(first: int, count: int) -> list[Entry]:
        ids = [f"doc_01kdvdna00{number:016d}" for number in range(first, first + count)]
        return [log.entry(Action.DOCUMENT_OPEN, each) for each in ids]

    assert await log.alerts(*opened(0, DOWNLOADS - 1), *opened(0, 20)) == [], "again is not more"
    assert await log.alerts(*opened(DOWNLOADS - 1, 1)) == ["mass-download"]


@pytest.mark.parametrize(
    ("harmless", "harmful"),
    [
        ((Action.DOCUMENT_HOLD, {}), (Action.DOCUMENT_RELEASE, {})),
        ((Action.TARGET_CHANGE, {}), (Action.TARGET_DELETE, {})),
        ((Action.KEY_DELETE, {"by": SYSTEM}), (Action.KEY_DELETE, {})),
        ((Action.REQUEST, {"refused": "forbidden"}), (Action.DOCUMENT_RELEASE, {})),
        (
            (Action.USER_CHANGE, {"details": {"roles": ["member"], "disabled": 0}}),
            (Action.USER_CHANGE, {"details": {"roles": ["administrator"], "disabled": 0}}),
        ),
        (
            (Action.USER_CHANGE, {"details": {"roles": ["administrator"], "disabled": 1}}),
            (Action.USER_CHANGE, {"details": {"roles": ["officer"], "disabled": 0}}),
        ),
        *(
            (
                (Action.POLICY_CHANGE, {"details": POLICY}),
                (Action.POLICY_CHANGE, {"details": POLICY | weaker}),
            )
            for weaker in (
                {"trash_days": 29},
                {"hourly": 23},
                {"verification_days": 31},
                {"legal_hold": 0},
                {"staff_access": "approval"},
            )
        ),
    ],
)
async def test_disabled_protection(log: Watched, harmless: Any, harmful: Any) -> None:
    (action, facts), (other, more) = harmless, harmful
    assert await log.alerts(log.entry(action, **facts)) == []
    assert await log.alerts(log.entry(other, **more)) == ["protection-disabled"]


async def test_an_alert_names_ids_alone_and_triggers_nothing(
    log: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    await log.alerts(log.entry(Action.DOCUMENT_RELEASE, address="203.0.113.7"))
    [alert] = await log.raised()
    assert alert["resource"] == USER.id
    assert alert["details"]["severity"] == "critical"
    assert alert["actor"]["kind"] == "system"
    assert f"audit.alert in the log of {TENANT}: protection-disabled" in caplog.messages
    await log.audit.log.append_pending(Partition(TENANT))
    assert await log.alerts(log.entry(Action.DOCUMENT_READ)) == []


async def test_the_memory_holds_no_address(log: Watched) -> None:
    await log.alerts(log.entry(Action.SIGN_IN, USER.id, address="203.0.113.7"))
    stored = await watch_states(log.data.records).get(Partition(TENANT), WATCH_ID)
    assert stored.value.networks[USER.id]
    assert "203.0.113" not in str(stored.record.body)


async def test_old_entries_raise_no_alert(log: Watched) -> None:
    entry = log.entry(Action.DOCUMENT_RELEASE)
    log.later(60 * 24 * 8)
    assert await log.alerts(entry) == []


def test_the_memory_is_bounded() -> None:
    windows = {
        f"refusals.usr_{number}": Window(marks={str(n): number for n in range(40)})
        for number in range(2 * MAX_KEYS)
    }
    kept = Windows(windows).bounded()
    assert sum(len(window.marks) for window in kept.values()) <= MAX_MARKS
    assert f"refusals.usr_{2 * MAX_KEYS - 1}" in kept
    networks: dict[str, dict[str, int]] = {}
    now = new_data().clock.now()
    for number in range(MAX_USERS + 5):
        for network in "abcdefghijkl":
            use_network(networks, f"usr_{number}", network, now)
    assert len(networks) == MAX_USERS
    assert max(map(len, networks.values())) == 8


def test_rules_have_names_of_their_own() -> None:
    names = [rule.name for rule in rules(5)]
    assert len(set(names)) == len(names)
