"""Retention: what sets count as, how long they stay, and that pruning takes nothing that is needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.backup.models import SetKind
from shared.backup.retention import kind_of, next_due, objects_until, retained_until
from shared.base.errors import Retained
from shared.policy.models import Retention, TenantPolicy
from tests.support.backups import BackedUp

TIMES = st.integers(946_684_800, 4_000_000_000).map(lambda each: datetime.fromtimestamp(each, UTC))
KINDS = st.sampled_from(["recent", "hourly", "daily", "monthly", "yearly"])
NOTHING = TenantPolicy(retention=Retention(hourly=0, daily=0, monthly=0, yearly=0))


@pytest.mark.parametrize(
    ("before", "kind"),
    [
        (None, "yearly"),
        ("2025-12-31T23:59:00Z", "yearly"),
        ("2026-10-31T23:59:00Z", "monthly"),
        ("2026-11-25T23:59:00Z", "daily"),
        ("2026-11-26T16:59:59Z", "hourly"),
        ("2026-11-26T17:00:00Z", "recent"),
    ],
)
def test_a_set_counts_as_the_first_of_its_period(before: str | None, kind: str) -> None:
    moment = None if before is None else datetime.fromisoformat(before)
    assert kind_of(datetime(2026, 11, 26, 17, 5, tzinfo=UTC), moment) == kind


@given(TIMES, KINDS)
def test_a_set_outlives_the_next_one_that_is_made_in_any_case(
    made_at: datetime, kind: SetKind
) -> None:
    for policy in (NOTHING, TenantPolicy()):
        due = next_due(kind, made_at)
        assert made_at < due <= made_at + timedelta(days=366)
        until = retained_until(kind, made_at, policy)
        assert until >= due + timedelta(days=1)
        assert objects_until(until, made_at, policy) >= until + timedelta(days=31)


@given(TIMES)
def test_the_policy_says_how_long(made_at: datetime) -> None:
    policy = TenantPolicy(retention=Retention(hourly=100, daily=50, monthly=12, yearly=7))
    days = {"daily": 50, "monthly": 31 * 12, "yearly": 366 * 7}
    for kind in ("daily", "monthly", "yearly"):
        assert retained_until(kind, made_at, policy) >= made_at + timedelta(days=days[kind])
    assert retained_until("hourly", made_at, policy) >= made_at + timedelta(hours=100)
    held = policy.model_copy(update={"legal_hold": True})
    assert retained_until("recent", made_at, held) >= made_at + timedelta(days=366)


async def names(backed_up: BackedUp) -> set[str]:
    """Every object of the tenant's sets."""
    store = backed_up.backups.reader.store
    return {info.name async for info in store.list(f"{backed_up.tenant}/")}


@pytest.mark.anyio
async def test_pruning_leaves_what_the_newest_set_needs(backed_up: BackedUp) -> None:
    documents = [await backed_up.upload(b"content %d" % n) for n in range(4)]
    await backed_up.back_up()
    for number, document in enumerate(documents[:2]):
        await backed_up.update(document, b"again %d" % number)
        await backed_up.back_up()
    await backed_up.erase(documents[3])
    await backed_up.back_up()
    before = await names(backed_up)
    pruning = backed_up.backups.timer.pruning
    assert await pruning.prune(backed_up.tenant) == 0

    expected = await backed_up.documents()
    backed_up.app.clock.advance(20 * 366 * 86_400)
    removed = await pruning.prune(backed_up.tenant)
    after = await names(backed_up)
    assert removed == len(before - after) > 0
    [last] = await backed_up.sets()
    assert last.counts.versions == 5
    backed_up.auth = await backed_up.app.auth(backed_up.tenant)
    job = await backed_up.restore(overwrite=True)
    assert (job.state, job.problems) == ("done", ())
    assert await backed_up.documents() == expected


@pytest.mark.anyio
async def test_a_legal_hold_keeps_every_set(backed_up: BackedUp) -> None:
    await backed_up.upload(b"content")
    await backed_up.back_up()
    http, auth = backed_up.app.http, backed_up.auth
    policy = (await http.get("policy", headers=auth)).json()
    body = {name: policy[name] for name in TenantPolicy.model_fields} | {"legal_hold": True}
    assert (await http.put("policy", json=body, headers=auth)).status_code == 200
    await backed_up.back_up()
    before = await names(backed_up)
    backed_up.app.clock.advance(20 * 366 * 86_400)
    assert await backed_up.backups.timer.pruning.prune(backed_up.tenant) == 0
    assert await names(backed_up) == before


@pytest.mark.anyio
async def test_with_all_that_the_app_can_do_no_retained_object_goes(backed_up: BackedUp) -> None:
    await backed_up.upload(b"content")
    await backed_up.back_up()
    store = backed_up.backups.reader.store
    now = backed_up.app.clock.now()
    before = {info.name: info async for info in store.list(f"{backed_up.tenant}/")}
    for name, info in before.items():
        with pytest.raises(Retained):
            await store.delete(name)
        await store.extend(name, now + timedelta(seconds=1))
        assert (await store.head(name)).retain_until == info.retain_until
    assert {info.name: info async for info in store.list(f"{backed_up.tenant}/")} == before


@pytest.mark.anyio
async def test_a_quiet_tenant_always_has_a_set_that_nobody_can_remove(backed_up: BackedUp) -> None:
    await backed_up.upload(b"content")
    await backed_up.back_up()
    store = backed_up.backups.reader.store
    for _ in range(40):
        backed_up.app.clock.advance(12 * 86_400)
        await backed_up.backups.timer.run()
        listed = [info async for info in store.list(f"{backed_up.tenant}/sets/")]
        assert listed[-1].retain_until > backed_up.app.clock.now()
    kinds = [manifest.kind for manifest in await backed_up.sets()]
    assert kinds[0] == "yearly"
    assert len(kinds) < 10
