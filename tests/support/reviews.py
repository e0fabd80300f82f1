"""Access reviews as tests play them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import httpx

from shared.access.permissions import Role
from shared.adapters.memory.records import MemoryRecords
from shared.base.partitions import OPERATOR, Partition
from shared.documents.reading import DocumentReader
from shared.identity.accounts import USER_KIND
from shared.identity.models import User
from shared.journal.agenda import Agenda, Task
from shared.journal.collections import Collection
from shared.journal.idempotency import Idempotency
from shared.journal.waiting import ENTRY_KIND
from shared.keys.epochs import EpochKeys
from shared.keys.intermediate import IntermediateKeys
from shared.policy.models import Retention, RetentionBounds
from shared.policy.service import Policies
from shared.ports.records import Change, Page, Record
from shared.reviews.models import ItemState, Phase
from shared.reviews.opening import Terms
from shared.reviews.schedule import ReviewSchedule
from shared.wiring.audit import Audit
from shared.wiring.grants import build_grants
from shared.wiring.reviews import build_reviews
from tests.support.app import App, grant_request
from tests.support.clock import FakeClock
from tests.support.identity import Stores
from tests.support.keys import Steps
from tests.support.records import waiting

DAY = 86_400.0
WHY = "They still work on this."


@dataclass
class Reviewing:
    """A tenant whose users are reviewed.

    Attributes:
        app: The service.
        tenant: Whose users; ``OPERATOR`` for the employees.
        reviewer: The username of who decides.
    """

    app: App
    tenant: str
    reviewer: str = "admin"

    async def run(self, days: float = 0) -> None:
        """Let time pass, and then the timer run."""
        self.app.clock.advance(days * DAY)
        await self.app.services.reviews.timer.run()

    async def get(self, path: str = "", username: str = "") -> httpx.Response:
        """The response to who decides, or to another user."""
        headers = await self.app.auth(self.tenant, username or self.reviewer)
        return await self.app.http.get(f"reviews{path}", headers=headers)

    async def reviews(self) -> list[dict[str, Any]]:
        """The reviews, the newest first."""
        answer = await self.get()
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    async def open(self) -> str:
        """Open a review and list its items; its id."""
        headers = await self.app.auth(self.tenant, self.reviewer)
        answer = await self.app.http.post("reviews", headers=headers)
        assert answer.status_code == 201, answer.text
        await self.run()
        return str(answer.json()["id"])

    async def items(self, review: str, query: str = "") -> dict[str, dict[str, Any]]:
        """The items of a review by ``username.role``, or by the grant."""
        answer = await self.get(f"/{review}/items?limit=200{query}")
        assert answer.status_code == 200, answer.text
        return {
            f"{item['username']}.{item['role']}" if item["role"] else item["id"]: item
            for item in answer.json()["items"]
        }

    async def states(self, review: str) -> dict[str, str]:
        """The state of each item."""
        return {name: item["state"] for name, item in (await self.items(review)).items()}

    async def decide(
        self,
        review: str,
        item: Mapping[str, Any],
        decision: str = "confirm",
        reason: str = WHY,
        username: str = "",
        **headers: str,
    ) -> httpx.Response:
        """Decide about an item."""
        auth = await self.app.auth(self.tenant, username or self.reviewer)
        return await self.app.http.post(
            f"reviews/{review}/items/{item['id']}",
            json={"decision": decision, "reason": reason},
            headers=auth | headers,
        )

    async def user(self, username: str) -> User:
        """A user as they are."""
        return (await self.app.found(self.tenant, username)).value

    async def same_person(self, username: str, as_username: str) -> None:
        """Let one account be a further one of another's person."""
        accounts = self.app.services.accounts
        stored = await self.app.found(self.tenant, username)
        person = (await self.user(as_username)).person
        changed = stored.value.model_copy(update={"account_of": person})
        await accounts.records.commit(stored.partition, [accounts.users.replace(stored, changed)])


async def break_glass(app: App, tenant: str, username: str = "support") -> str:
    """Take a grant alone; its id."""
    answer = await app.http.post(
        "staff-grants",
        headers=await app.auth(OPERATOR, username),
        json=grant_request(tenant, "doc_" + "0" * 26) | {"break_glass": True},
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def finished_review(app: App, tenant: str) -> str:
    """A review of a tenant in which nothing was left to decide; its id."""
    reviewing = Reviewing(app, tenant)
    review = await reviewing.open()
    store = app.services.reviews.reviews.store
    found = (await store.get(tenant, review)).value
    for stored in [item async for item in store.pending(found)]:
        await store.settle(stored, stored.value.model_copy(update={"state": ItemState.OBSOLETE}))
    await app.services.reviews.timer.schedule.agenda.add(
        Task.REVIEW, Partition(tenant), app.clock.now()
    )
    await reviewing.run()
    assert (await store.get(tenant, review)).value.phase is Phase.FINISHED
    return review


class CountedRecords(MemoryRecords):
    """Counts what is asked of it, and lets each commit be a step at which the process may end."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.calls: Counter[str] = Counter()
        self.steps = Steps()
        self.killed_after = False

    async def get(self, partition: Partition, kind: str, id: str) -> Record:
        self.calls[f"get {kind}"] += 1
        return await super().get(partition, kind, id)

    async def query(self, partition: Partition, kind: str, **arguments: Any) -> Page:
        self.calls[f"query {kind}"] += 1
        return await super().query(partition, kind, **arguments)

    async def commit(self, partition: Partition, changes: Sequence[Change]) -> None:
        self.calls["commit"] += 1
        if not self.killed_after:
            self.steps.take()
        await super().commit(partition, changes)
        if self.killed_after:
            self.steps.take()


class ReviewStores(Stores):
    """What the processes of a deployment with reviews share."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.counted = CountedRecords(self.clock)
        self.records = self.counted

    def reviewing(self) -> ReviewProcess:
        """A process that has just started."""
        return ReviewProcess(self)

    async def add_users(self, tenant: str, roles: Sequence[tuple[Role, ...]]) -> list[str]:
        """Users without the cost of passwords; their ids."""
        partition, now = Partition(tenant), self.clock.now()
        users = Collection(self.records, User, USER_KIND, lambda user: user.id)
        made = [
            User(
                id=f"usr_{number:026}",
                tenant=tenant,
                username=f"user-{number}",
                roles=each,
                password="",
                created_at=now,
            )
            for number, each in enumerate(roles)
        ]
        for start in range(0, len(made), 100):
            batch = made[start : start + 100]
            await self.records.commit(partition, [users.create(partition, each) for each in batch])
        return [user.id for user in made]

    async def entries(self) -> list[dict[str, Any]]:
        """Every audit entry that a process has committed, wherever it waits."""
        return [
            waiting(body)
            for partition in sorted(self.partitions())
            for body in await self.stored(partition, ENTRY_KIND)
        ]


class ReviewProcess:
    """The services of one process that reviews need."""

    def __init__(self, stores: ReviewStores) -> None:
        identity = stores.process()
        records, vault, journal = stores.records, stores.key_vault, identity.journal
        runtime = identity.accounts.runtime
        agenda = Agenda(records, runtime)
        idempotency = Idempotency(records, runtime)
        self.identity = identity
        intermediates = IntermediateKeys(records, vault, journal, runtime)
        epochs = EpochKeys(records, vault, journal, intermediates, runtime)
        policies = Policies(records, journal, RetentionBounds(Retention(), Retention()), runtime)
        grants = build_grants(
            epochs,
            "development",
            journal,
            identity.accounts,
            identity.tenants,
            policies,
            agenda,
            idempotency,
            # It reads nothing of a document, and reports about no grant.
            cast("DocumentReader", None),
            cast("Audit", SimpleNamespace(reader=None, keys=None)),
        )
        terms = Terms(timedelta(days=91), timedelta(days=14), timedelta(days=14))
        self.services = build_reviews(
            ReviewSchedule(records, agenda, runtime, terms.every),
            terms,
            epochs,
            vault,
            "development",
            journal,
            identity.accounts,
            grants.decisions,
        )
