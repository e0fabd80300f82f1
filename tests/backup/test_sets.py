"""Sets: made of what changed, and nothing else."""

from __future__ import annotations

import pytest

from tests.support.backups import BackedUp

pytestmark = pytest.mark.anyio


async def test_a_set_holds_what_there_is_and_then_what_changed(backed_up: BackedUp) -> None:
    for number in range(3):
        await backed_up.upload(b"content %d" % number)
    assert await backed_up.back_up() == 2  # the tenant and the operator
    first = await backed_up.newest()
    assert (first.sequence, first.kind, first.counts.versions) == (1, "yearly", 3)

    await backed_up.back_up()  # the operator's key was made for its first set
    assert await backed_up.back_up() == 0
    assert len(await backed_up.sets()) == 1

    await backed_up.upload(b"one more")
    assert await backed_up.back_up() == 1
    second = await backed_up.newest()
    assert (second.sequence, second.kind, second.counts.versions) == (2, "recent", 4)
    assert second.previous is not None
    assert second.previous.id == first.id
