"""A process that ends at any commit of a review: the next one ends right, and nothing happens twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from shared.access.permissions import Role
from shared.reviews import opening
from shared.reviews.models import Choice
from tests.support.keys import KilledError
from tests.support.reviews import DAY, ReviewProcess, ReviewStores

pytestmark = pytest.mark.anyio

WHY = "Because it is so."
USERS = ((Role.MEMBER,), (Role.READER,), (Role.MEMBER, Role.READER), (Role.ADMINISTRATOR,))

Stage = Callable[[ReviewProcess], Awaitable[None]]


class Story:
    """The life of a review: opened by the timer, partly decided, suspended, partly decided, lapsed."""

    def __init__(self) -> None:
        self.stores = ReviewStores()
        self.processes: list[ReviewProcess] = []

    async def furnish(self) -> None:
        process = self.start()
        self.administrator = await process.identity.administrator("alpha", "a long password")
        self.users = await self.stores.add_users(self.administrator.tenant, USERS)
        await run(process)

    def start(self) -> ReviewProcess:
        process = self.stores.reviewing()
        self.processes.append(process)
        return process

    def stages(self) -> list[tuple[float, Stage]]:
        """Each with the days that pass before it."""
        member, _, both, second = self.users
        return [
            (91, run),
            (1, self.decide(f"{member}.member", Choice.CONFIRM)),
            (0, self.decide(f"{both}.member", Choice.REVOKE)),
            (0, self.decide(f"{second}.administrator", Choice.REVOKE)),
            (13, run),
            (1, self.decide(f"{both}.reader", Choice.CONFIRM)),
            (13, run),
            (1, run),
        ]

    def decide(self, item: str, choice: Choice) -> Stage:
        async def stage(process: ReviewProcess) -> None:
            reviews = process.services.reviews
            [review] = (await reviews.page(self.administrator, limit=1, cursor=None)).items
            await reviews.decide(self.administrator, review.review.id, item, choice, WHY, None)

        return stage

    async def close(self) -> None:
        for process in self.processes:
            process.identity.outbox._waiting.clear()
            await process.identity.outbox.close()


async def run(process: ReviewProcess) -> None:
    await process.services.timer.run()


async def played(at: int, *, after: bool) -> tuple[Story, bool]:
    """The story, killed at one of its commits and then continued; whether it came so far."""
    story = Story()
    await story.furnish()
    steps = story.stores.counted.steps
    story.stores.counted.killed_after = after
    steps.taken, steps.last = 0, at
    killed = False
    for days, stage in story.stages():
        story.stores.clock.advance(days * DAY)
        process = story.start()
        with suppress(KilledError):  # it may end in the background
            await stage(process)
        if steps.last is not None and steps.taken >= steps.last:
            killed, steps.last = True, None
            for each in story.processes:
                each.identity.outbox._waiting.clear()
            story.stores.clock.advance(600)
            await run(story.start())
            await stage(story.start())
            await run(story.start())
    await story.close()
    return story, killed


async def outcome(story: Story) -> tuple[object, ...]:
    """What is to be the same wherever a process was killed."""
    process = story.start()
    reviews, administrator = process.services.reviews, story.administrator
    [described] = (await reviews.page(administrator, limit=10, cursor=None)).items
    review = described.review
    report = json.loads((await reviews.report(administrator, review.id, "json")).content)
    accounts = process.identity.accounts
    users = [
        (await accounts.load(administrator.tenant, user)).value
        for user in (*story.users, administrator.user)
    ]
    done = Counter(
        (entry["action"], str(sorted(entry["details"].items())))
        for entry in await story.stores.entries()
        if entry["action"]
        in {
            *("review.open", "review.decide", "review.suspend", "review.lapse"),
            "user.change",
        }
    )
    # Ids are different in each story.
    names = {user.id: str(number) for number, user in enumerate(users)}
    facts = sorted(done.items())
    text = json.dumps([facts, report["counts"]])
    for user, name in names.items():
        text = text.replace(user, name)
    finished = [e for e in await story.stores.entries() if e["action"] == "review.finish"]
    return (
        json.loads(text),
        [(user.roles, user.suspended_roles, user.disabled) for user in users],
        len(finished),
        (await process.services.reviews.reports.jws(review)).count(b"."),
    )


@pytest.mark.parametrize("after", [False, True])
async def test_wherever_a_process_ends_the_review_ends_right(
    monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    monkeypatch.setattr(opening, "PAGE", 2)
    story, killed = await played(100_000, after=after)
    assert not killed
    expected = await outcome(story)
    assert expected[1] == [
        ((Role.MEMBER,), (), False),
        ((), (), True),
        ((Role.READER,), (), False),
        ((), (), True),
        ((Role.ADMINISTRATOR,), (), False),
    ]
    at = 0
    while True:
        at += 1
        story, killed = await played(at, after=after)
        if not killed:
            break
        assert await outcome(story) == expected, at
    assert at > 40


async def test_a_confirmation_and_a_suspension_at_the_same_time_do_not_both_take_effect() -> None:
    """A timer that is about to suspend a role when it is confirmed leaves it alone."""
    story = Story()
    await story.furnish()
    story.stores.clock.advance(91 * DAY)
    await run(story.start())
    reviews = story.start().services.reviews
    [described] = (await reviews.page(story.administrator, limit=1, cursor=None)).items
    review = described.review
    item = f"{story.users[0]}.member"
    settling = story.start().services.timer.settling
    store, settle = settling.store, settling.store.settle
    confirmed = False

    async def confirm_first(stored, changed) -> None:
        nonlocal confirmed
        if not confirmed:
            confirmed = True
            await reviews.decide(story.administrator, review.id, item, Choice.CONFIRM, WHY, None)
        await settle(stored, changed)

    class Slow:
        """The store, where a confirmation comes between reading and writing."""

        settle = staticmethod(confirm_first)

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

    settling.store = Slow()  # type: ignore[assignment]
    await settling.suspend(review, item)
    accounts = story.start().identity.accounts
    user = (await accounts.load(review.tenant, story.users[0])).value
    assert confirmed
    assert user.suspended_roles == ()
    await story.close()
