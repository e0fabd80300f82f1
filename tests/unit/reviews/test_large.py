"""Reviews of many users: each is read once, and a page of items costs as much as any other."""

from __future__ import annotations

from collections import Counter

import pytest

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.identity.accounts import USER_KIND
from shared.reviews.models import ITEM_KIND, ItemState
from shared.reviews.opening import PAGE
from shared.reviews.store import BATCH
from tests.support.reviews import ReviewStores

pytestmark = pytest.mark.anyio

MANY = 10_000


async def reviewed(number: int) -> tuple[ReviewStores, str, Principal, Counter[str]]:
    """A tenant with so many members and an open review, and what its run asked of the store."""
    stores = ReviewStores()
    process = stores.reviewing()
    administrator = await process.identity.administrator("alpha", "a long password")
    await stores.add_users(administrator.tenant, [(Role.MEMBER,)] * (number - 1))
    review = await process.services.reviews.open(administrator)
    stores.counted.calls.clear()
    await process.services.timer.run()
    calls = Counter(stores.counted.calls)
    found = await process.services.reviews.read(administrator, review.review.id)
    assert found.review.phase == "open"
    return stores, review.review.id, administrator, calls


async def test_a_run_reads_each_assignment_once() -> None:
    stores, _, administrator, calls = await reviewed(MANY)
    assert calls[f"query {USER_KIND}"] <= MANY // PAGE + 1
    assert calls[f"get {USER_KIND}"] == 0
    assert calls[f"get {ITEM_KIND}"] == 0
    assert calls["commit"] <= MANY // PAGE * (-(-PAGE // BATCH) + 1) + 20
    assert sum(calls.values()) < MANY // 10
    items = [part for part in stores.partitions() if part.part.startswith("review-")]
    assert [part.tenant for part in items] == [administrator.tenant]


async def test_a_page_of_items_costs_the_same_however_many_there_are() -> None:
    asked = []
    for number in (10, MANY):
        stores, review, administrator, _ = await reviewed(number)
        reviews = stores.reviewing().services.reviews
        stores.counted.calls.clear()
        for state in (None, ItemState.OPEN):
            page = await reviews.items(administrator, review, state, limit=10, cursor=None)
            assert len(page.items) == 10
        asked.append(Counter(stores.counted.calls))
    assert asked[0] == asked[1]
    assert asked[0][f"query {ITEM_KIND}"] == 2
