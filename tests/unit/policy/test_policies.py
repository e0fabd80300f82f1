"""Policies: defaults until one is set, the operator's bounds, holds apart, and no change lost."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from pydantic import ValidationError

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.adapters.memory.records import MemoryRecords
from shared.base.errors import Forbidden, InvalidInput, PreconditionFailed
from shared.base.partitions import OPERATOR, Partition
from shared.journal.agenda import Agenda
from shared.journal.journal import Journal
from shared.journal.outbox import Outbox
from shared.journal.waiting import entries_waiting
from shared.policy.models import Retention, RetentionBounds, TenantPolicy
from shared.policy.service import POLICY_KIND, Policies
from shared.ports.clock import Runtime
from shared.wiring.settings import Settings
from tests.support.clock import FakeClock
from tests.support.keys import TENANT, DeafBus

pytestmark = pytest.mark.anyio

ADMIN = Principal(TENANT, "usr_" + "0" * 26, (Role.ADMINISTRATOR,))
MEMBER = Principal(TENANT, "usr_" + "1" * 26, (Role.MEMBER,))
BOUNDS = RetentionBounds(
    Retention(hourly=24, daily=7, monthly=0, yearly=0),
    Retention(hourly=168, daily=366, monthly=120, yearly=30),
)


@pytest.fixture
def records() -> MemoryRecords:
    return MemoryRecords(FakeClock())


def policies_over(records: MemoryRecords, bounds: RetentionBounds = BOUNDS) -> Policies:
    runtime = Runtime(FakeClock(), os.urandom)
    outbox = Outbox(records, DeafBus(), Agenda(records, runtime), "development", runtime)  # type: ignore[arg-type]
    journal = Journal(records, outbox, "development", runtime)
    return Policies(records, journal, bounds, runtime)


@pytest.fixture
def policies(records: MemoryRecords) -> Policies:
    return policies_over(records)


async def audited(records: MemoryRecords) -> list[tuple[str, dict[str, Any]]]:
    scan = entries_waiting(records).scan(Partition(TENANT))
    return [(each.value.entry.action.value, each.value.entry.details) async for each in scan]


async def test_the_defaults_apply_until_a_policy_is_set(
    policies: Policies, records: MemoryRecords
) -> None:
    expected = TenantPolicy(
        trash_days=30,
        retention=Retention(hourly=24, daily=30, monthly=12, yearly=7),
        verification_days=30,
        legal_hold=False,
    )
    assert await policies.of(TENANT) == expected
    assert await policies.of(OPERATOR) == expected
    assert (await policies.read(ADMIN)).policy == expected
    assert (await records.query(Partition(TENANT), POLICY_KIND)).records == []
    assert await audited(records) == [("policy.read", {})]


async def test_a_change_is_kept_audited_and_of_one_tenant(
    policies: Policies, records: MemoryRecords
) -> None:
    wanted = TenantPolicy(
        trash_days=0,
        retention=Retention(hourly=48, daily=7, monthly=0, yearly=30),
        verification_days=1,
        legal_hold=True,
    )
    changed = await policies.change(ADMIN, wanted, None)
    assert changed.policy == await policies.of(TENANT) == wanted
    assert await policies.of("ten_" + "1" * 26) == TenantPolicy()
    [(action, details)] = await audited(records)
    assert action == "policy.change"
    assert details == {
        "trash_days": 0,
        "hourly": 48,
        "daily": 7,
        "monthly": 0,
        "yearly": 30,
        "verification_days": 1,
        "legal_hold": 1,
        "staff_access": "approval",
    }


@pytest.mark.parametrize(
    ("retention", "says"),
    [
        ({"hourly": 23}, "hourly from 24 to 168"),
        ({"hourly": 169}, "hourly from 24 to 168"),
        ({"daily": 6, "yearly": 31}, "daily from 7 to 366, yearly from 0 to 30"),
        ({"monthly": 121}, "monthly from 0 to 120"),
    ],
)
async def test_a_retention_outside_the_operators_bounds_is_refused(
    policies: Policies, retention: dict[str, int], says: str
) -> None:
    with pytest.raises(InvalidInput, match=rf"allows these retentions: {says}\."):
        await policies.change(ADMIN, TenantPolicy(retention=Retention(**retention)), None)
    assert await policies.of(TENANT) == TenantPolicy()


async def test_bounds_that_were_narrowed_later_apply_to_what_was_set_before(
    policies: Policies, records: MemoryRecords
) -> None:
    await policies.change(ADMIN, TenantPolicy(retention=Retention(yearly=30)), None)
    narrow = policies_over(
        records, RetentionBounds(Retention(hourly=36), Retention(hourly=36, yearly=10))
    )
    assert (await narrow.of(TENANT)).retention == Retention(hourly=36, yearly=10)
    assert (await narrow.of(OPERATOR)).retention == Retention(hourly=36)


async def test_a_change_is_made_only_to_the_policy_that_was_read(policies: Policies) -> None:
    unset = (await policies.read(ADMIN)).etag
    first = await policies.change(ADMIN, TenantPolicy(trash_days=1), unset)
    for stale in (unset, "another"):
        with pytest.raises(PreconditionFailed, match="read it again"):
            await policies.change(ADMIN, TenantPolicy(trash_days=2), stale)
    second = await policies.change(ADMIN, TenantPolicy(trash_days=3), first.etag)
    assert len({unset, first.etag, second.etag}) == 3
    assert (await policies.read(ADMIN)) == second


async def test_of_concurrent_changes_to_one_policy_one_is_made(policies: Policies) -> None:
    etag = (await policies.read(ADMIN)).etag
    changes = [
        policies.change(ADMIN, TenantPolicy(trash_days=days), etag) for days in range(10, 15)
    ]
    done = await asyncio.gather(*changes, return_exceptions=True)
    made = [each for each in done if not isinstance(each, PreconditionFailed)]
    assert [await policies.read(ADMIN)] == made


async def test_without_an_etag_the_last_of_concurrent_changes_stays(policies: Policies) -> None:
    wanted = [TenantPolicy(trash_days=days) for days in range(10, 15)]
    await asyncio.gather(*(policies.change(ADMIN, each, None) for each in wanted))
    assert await policies.of(TENANT) in wanted


@pytest.mark.parametrize("held", [False, True])
async def test_a_legal_hold_needs_its_own_permission_to_begin_and_to_end(
    policies: Policies, held: bool
) -> None:
    await policies.change(ADMIN, TenantPolicy(legal_hold=held), None)
    with pytest.raises(Forbidden, match=r"holds\.manage"):
        await policies.change(MEMBER, TenantPolicy(legal_hold=not held), None)
    changed = await policies.change(MEMBER, TenantPolicy(trash_days=5, legal_hold=held), None)
    assert changed.policy == TenantPolicy(trash_days=5, legal_hold=held)


@pytest.mark.parametrize(
    "fields",
    [
        {"trash_days": -1},
        {"trash_days": 91},
        {"verification_days": 0},
        {"verification_days": 91},
        {"retention": {"hourly": -1}},
        {"retention": {"weekly": 1}},
    ],
)
def test_what_no_policy_can_say(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TenantPolicy.model_validate(fields)


def test_the_settings_name_the_bounds() -> None:
    settings = Settings(backup_retention_min="1 2 3 4", backup_retention_max="5 6 7 8")
    assert settings.retention_bounds == RetentionBounds(
        Retention(hourly=1, daily=2, monthly=3, yearly=4),
        Retention(hourly=5, daily=6, monthly=7, yearly=8),
    )
    Settings().retention_bounds.check(TenantPolicy().retention)


@pytest.mark.parametrize(
    ("least", "most"),
    [
        ("2 0 0 0", "1 9 9 9"),
        ("0 0 0 8", "9 9 9 7"),
        ("1 2 3", "9 9 9 9"),
        ("0 0 0 0", "9 9 9 999"),
    ],
)
def test_bounds_without_room_are_refused(least: str, most: str) -> None:
    with pytest.raises(ValidationError):
        Settings(backup_retention_min=least, backup_retention_max=most)
