"""Tokens: the ring of their keys rotates, and every process reads what another issued."""

from __future__ import annotations

import asyncio

import pytest

from shared.access.permissions import Role
from shared.base.errors import TokenExpired, Unauthenticated
from shared.base.partitions import OPERATOR, Partition
from shared.crypto.tokens import TOKEN_LIFETIME, token_kid
from shared.identity.models import User
from shared.identity.tokens import (
    ACTIVATION,
    KIND,
    RELOAD_AT_MOST_EVERY,
    ROOT_KEY_NAME,
    ROTATE_AT_MOST_EVERY,
)
from tests.support.identity import Identity, Stores

pytestmark = pytest.mark.anyio


def user(stores: Stores) -> User:
    return User(
        id="usr_a",
        tenant="ten_a",
        username="anna",
        roles=(Role.READER, Role.MEMBER),
        password="",
        security_version=7,
        created_at=stores.clock.now(),
    )


async def test_a_token_says_whose_it_is(identity: Identity, stores: Stores) -> None:
    issued = await identity.tokens.issue(user(stores))
    assert issued.expires_at == stores.clock.now() + TOKEN_LIFETIME
    read = await stores.process().tokens.read(issued.token)
    assert (read.tenant, read.user, read.security_version) == ("ten_a", "usr_a", 7)
    assert read.roles == (Role.READER, Role.MEMBER)
    stores.clock.advance(TOKEN_LIFETIME.total_seconds())
    with pytest.raises(TokenExpired):
        await identity.tokens.read(issued.token)


async def test_what_is_remembered_of_a_token_is_only_what_it_says(
    identity: Identity, stores: Stores
) -> None:
    issued = await identity.tokens.issue(user(stores))
    assert await identity.tokens.read(issued.token) == await identity.tokens.read(issued.token)
    head, _, tag = issued.token.rpartition(".")
    for changed in (head + "." + tag[::-1], issued.token + "A", issued.token[:-1]):
        with pytest.raises(Unauthenticated):
            await identity.tokens.read(changed)
    for _ in range(2):
        stores.clock.advance((ROTATE_AT_MOST_EVERY + ACTIVATION + TOKEN_LIFETIME).total_seconds())
        assert await identity.tokens.rotate()
    with pytest.raises(Unauthenticated) as refusal:
        await identity.tokens.read(issued.token)
    assert not isinstance(refusal.value, TokenExpired), "its key is gone, and so is what it said"


async def test_a_token_of_another_environment(identity: Identity, stores: Stores) -> None:
    issued = await identity.tokens.issue(user(stores))
    with pytest.raises(Unauthenticated):
        await stores.process("production").tokens.read(issued.token)


async def test_processes_that_start_together_share_one_ring(stores: Stores) -> None:
    processes = [stores.process() for _ in range(4)]
    issued = await asyncio.gather(*(each.tokens.issue(user(stores)) for each in processes))
    assert len(await stores.stored(Partition(OPERATOR), KIND)) == 1
    for each in issued:
        for process in processes:
            assert (await process.tokens.read(each.token)).user == "usr_a"
    for process in processes:
        await process.outbox.close()


async def test_a_new_key_signs_once_every_process_can_have_loaded_it(
    identity: Identity, stores: Stores
) -> None:
    first = token_kid((await identity.tokens.issue(user(stores))).token)
    assert not await identity.tokens.rotate(), "too soon"
    stores.clock.advance(ROTATE_AT_MOST_EVERY.total_seconds())
    assert await identity.tokens.rotate()
    assert token_kid((await identity.tokens.issue(user(stores))).token) == first
    stores.clock.advance(ACTIVATION.total_seconds())
    assert token_kid((await identity.tokens.issue(user(stores))).token) != first


async def test_two_timers_rotate_once(identity: Identity, stores: Stores) -> None:
    await identity.tokens.issue(user(stores))
    stores.clock.advance(ROTATE_AT_MOST_EVERY.total_seconds())
    other = stores.process()
    outcomes = await asyncio.gather(identity.tokens.rotate(), other.tokens.rotate())
    assert sorted(outcomes) == [False, True]
    (ring,) = await stores.stored(Partition(OPERATOR), KIND)
    assert len(ring["keys"]) == 2
    await other.outbox.close()


async def test_another_process_reads_tokens_of_a_new_key(
    identity: Identity, stores: Stores
) -> None:
    other = stores.process()
    await other.tokens.issue(user(stores))
    stores.clock.advance(ROTATE_AT_MOST_EVERY.total_seconds())
    await identity.tokens.rotate()
    stores.clock.advance(max(ACTIVATION, RELOAD_AT_MOST_EVERY).total_seconds())
    issued = await identity.tokens.issue(user(stores))
    assert (await other.tokens.read(issued.token)).user == "usr_a"
    await other.outbox.close()


async def test_keys_whose_tokens_have_expired_leave_the_ring(
    identity: Identity, stores: Stores
) -> None:
    issued = await identity.tokens.issue(user(stores))
    for _ in range(3):
        stores.clock.advance((TOKEN_LIFETIME + 3 * ACTIVATION).total_seconds())
        assert await identity.tokens.rotate()
    (ring,) = await stores.stored(Partition(OPERATOR), KIND)
    assert len(ring["keys"]) == 2, "the one that may have signed, and its successor"
    with pytest.raises(Unauthenticated):
        await identity.tokens.read(issued.token)


async def test_invented_key_ids_are_not_read_from_the_store(
    identity: Identity, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = await identity.tokens.issue(user(stores))
    foreign = await Stores().process().tokens.issue(user(stores))
    reads = 0

    async def counted(*_: object) -> object:
        nonlocal reads
        reads += 1
        raise AssertionError

    monkeypatch.setattr(type(stores.records), "get", counted)
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await identity.tokens.read(foreign.token)
    assert (await identity.tokens.read(issued.token)).user == "usr_a"
    assert reads == 0


async def test_the_root_is_stored_wrapped(identity: Identity, stores: Stores) -> None:
    await identity.tokens.issue(user(stores))
    (ring,) = await stores.stored(Partition(OPERATOR), KIND)
    assert await stores.key_vault.public_key(ROOT_KEY_NAME, ring["root_version"])
    assert set(ring) == {"keys", "root_version", "root"}
