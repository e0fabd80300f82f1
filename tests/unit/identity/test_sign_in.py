"""Sign-in: lockout, attempts in parallel, temporary passwords, and what revokes tokens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.base.errors import (
    Conflict,
    InvalidInput,
    PasswordChangeRequired,
    RateLimited,
    SignInRefused,
    TokenRevoked,
)
from shared.base.partitions import OPERATOR, Partition
from shared.identity.lockout import (
    ATTEMPTS_KEPT,
    ATTEMPTS_KIND,
    FIRST_LOCK,
    FREE_ATTEMPTS,
    LONGEST_LOCK,
)
from tests.support.identity import ORIGIN, Identity, Stores

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse battery staple"
OTHER_PASSWORD = "another horse, another staple"


async def fail(identity: Identity, username: str = "admin") -> None:
    with pytest.raises(SignInRefused):
        await identity.try_sign_in("alpha", username, "wrong")


async def given(identity: Identity, admin: Principal) -> tuple[str, str]:
    """A new user's id, and their temporary password."""
    temporary = await identity.accounts.create(admin, "anna", (Role.READER,), None)
    assert temporary.password is not None
    return temporary.user.id, temporary.password


@pytest.mark.parametrize("username", ["admin", "nobody"])
async def test_failures_lock_a_username_whether_it_exists_or_not(
    identity: Identity, stores: Stores, username: str
) -> None:
    await identity.administrator("alpha", PASSWORD)
    for _ in range(FREE_ATTEMPTS):
        await fail(identity, username)
    looked_at = identity.hasher.verified
    with pytest.raises(RateLimited) as locked:
        await identity.try_sign_in("alpha", username, PASSWORD)
    assert locked.value.retry_after == FIRST_LOCK.total_seconds() + 1
    assert identity.hasher.verified == looked_at, "a locked username's password is not looked at"
    stores.clock.advance(FIRST_LOCK.total_seconds())
    await fail(identity, username)
    with pytest.raises(RateLimited) as locked:
        await identity.try_sign_in("alpha", username, PASSWORD)
    assert locked.value.retry_after == 2 * FIRST_LOCK.total_seconds() + 1


async def test_a_lock_grows_to_a_limit_and_a_success_starts_anew(
    identity: Identity, stores: Stores
) -> None:
    await identity.administrator("alpha", PASSWORD)
    for _ in range(FREE_ATTEMPTS + 12):
        await fail(identity)
        stores.clock.advance(LONGEST_LOCK.total_seconds())
    await identity.try_sign_in("alpha", "admin", PASSWORD)
    for _ in range(FREE_ATTEMPTS):
        await fail(identity)


async def test_failures_are_forgotten_after_a_day(identity: Identity, stores: Stores) -> None:
    admin = await identity.administrator("alpha", PASSWORD)
    for _ in range(FREE_ATTEMPTS):
        await fail(identity)
    assert len(await stores.stored(Partition(admin.tenant), ATTEMPTS_KIND)) == 1
    stores.clock.advance(ATTEMPTS_KEPT.total_seconds())
    assert await stores.stored(Partition(admin.tenant), ATTEMPTS_KIND) == []
    await fail(identity)


async def test_an_unknown_tenant_is_refused_like_a_wrong_password(
    identity: Identity, stores: Stores
) -> None:
    await identity.administrator("alpha", PASSWORD)
    details = set()
    for slug, username in (("alpha", "admin"), ("alpha", "nobody"), ("unknown", "admin")):
        with pytest.raises(SignInRefused) as refused:
            await identity.try_sign_in(slug, username, "wrong")
        details.add(refused.value.detail)
    assert details == {"Invalid tenant, username or password."}
    assert len(await stores.stored(Partition(OPERATOR), ATTEMPTS_KIND)) == 1


async def test_attempts_in_parallel_are_all_counted(identity: Identity, stores: Stores) -> None:
    admin = await identity.administrator("alpha", PASSWORD)
    before = identity.hasher.verified
    others = [stores.process() for _ in range(3)]
    outcomes = await asyncio.gather(
        *(
            process.try_sign_in("alpha", "admin", f"guess {number}")
            for number in range(8)
            for process in (identity, *others)
        ),
        return_exceptions=True,
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, SignInRefused)]
    assert {type(outcome) for outcome in outcomes} == {SignInRefused, RateLimited}
    assert len(refused) == FREE_ATTEMPTS
    verified = [process.hasher.verified for process in others]
    assert identity.hasher.verified - before + sum(verified) == FREE_ATTEMPTS
    (attempts,) = await stores.stored(Partition(admin.tenant), ATTEMPTS_KIND)
    assert attempts["count"] == FREE_ATTEMPTS
    assert stores.paused, "the attempts did contend"
    for process in others:
        await process.outbox.close()


async def test_a_temporary_password_works_once(identity: Identity) -> None:
    admin = await identity.administrator("alpha", PASSWORD)
    _, temporary = await given(identity, admin)
    with pytest.raises(PasswordChangeRequired):
        await identity.try_sign_in("alpha", "anna", temporary)
    await identity.try_sign_in("alpha", "anna", temporary, PASSWORD)
    with pytest.raises(SignInRefused):
        await identity.try_sign_in("alpha", "anna", temporary, OTHER_PASSWORD)
    assert (await identity.try_sign_in("alpha", "anna", PASSWORD)).user.temporary_until is None


async def test_two_at_once_use_a_temporary_password_once(identity: Identity) -> None:
    admin = await identity.administrator("alpha", PASSWORD)
    _, temporary = await given(identity, admin)
    outcomes = await asyncio.gather(
        *(
            identity.try_sign_in("alpha", "anna", temporary, f"{PASSWORD} {number}")
            for number in range(3)
        ),
        return_exceptions=True,
    )
    failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(failed) == 2
    assert all(isinstance(outcome, Conflict | SignInRefused) for outcome in failed)


async def test_the_right_password_is_no_failure_whatever_else_is_wrong(
    identity: Identity, stores: Stores
) -> None:
    admin = await identity.administrator("alpha", PASSWORD)
    user, temporary = await given(identity, admin)
    own = Principal(admin.tenant, user, (Role.READER,))

    async def attempts() -> list[dict[str, Any]]:
        return await stores.stored(Partition(admin.tenant), ATTEMPTS_KIND)

    for _ in range(FREE_ATTEMPTS + 2):
        with pytest.raises(PasswordChangeRequired):
            await identity.try_sign_in("alpha", "anna", temporary)
        with pytest.raises(InvalidInput):
            await identity.try_sign_in("alpha", "anna", temporary, "short")
    assert await attempts() == []
    await identity.try_sign_in("alpha", "anna", temporary, PASSWORD)
    for _ in range(FREE_ATTEMPTS + 2):
        with pytest.raises(InvalidInput):
            await identity.try_sign_in("alpha", "anna", PASSWORD, OTHER_PASSWORD)
        with pytest.raises(InvalidInput):
            await identity.sign_in.change_password(own, PASSWORD, "short")
    assert await attempts() == []


async def test_the_right_password_of_an_account_that_is_closed_is_a_failure(
    identity: Identity, stores: Stores
) -> None:
    admin = await identity.administrator("alpha", PASSWORD)
    user, temporary = await given(identity, admin)
    await identity.accounts.change(admin, user, roles=None, disabled=True, if_match=None)
    for _ in range(FREE_ATTEMPTS):
        with pytest.raises(SignInRefused):
            await identity.try_sign_in("alpha", "anna", temporary, PASSWORD)
    with pytest.raises(RateLimited):
        await identity.try_sign_in("alpha", "anna", temporary, PASSWORD)


@pytest.mark.parametrize(("after", "valid"), [(7_199, True), (7_200, False)])
async def test_a_temporary_password_expires_after_two_hours(
    identity: Identity, stores: Stores, after: int, valid: bool
) -> None:
    admin = await identity.administrator("alpha", PASSWORD)
    _, temporary = await given(identity, admin)
    stores.clock.advance(after)
    if valid:
        await identity.try_sign_in("alpha", "anna", temporary, PASSWORD)
    else:
        with pytest.raises(SignInRefused):
            await identity.try_sign_in("alpha", "anna", temporary, PASSWORD)


async def test_a_raised_security_version_revokes_tokens(identity: Identity) -> None:
    admin = await identity.administrator("alpha", PASSWORD)
    user, temporary = await given(identity, admin)
    token = (await identity.try_sign_in("alpha", "anna", temporary, PASSWORD)).token

    async def revoked_by(change: Any) -> None:
        nonlocal token
        own = await identity.sign_in.authenticate(token, ORIGIN)
        assert (own.tenant, own.user) == (admin.tenant, user)
        bystander = (await identity.try_sign_in("alpha", "admin", PASSWORD)).token
        await change(own)
        with pytest.raises(TokenRevoked):
            await identity.sign_in.authenticate(token, ORIGIN)
        assert (await identity.sign_in.authenticate(bystander, ORIGIN)).user == admin.user
        token = (await identity.tokens.issue((await identity.accounts.load(*pair)).value)).token

    pair = admin.tenant, user
    unchanged: dict[str, Any] = {"roles": None, "disabled": None, "if_match": None}
    await revoked_by(identity.sign_in.sign_out_everywhere)
    await revoked_by(lambda own: identity.sign_in.change_password(own, PASSWORD, OTHER_PASSWORD))
    await revoked_by(
        lambda _: identity.accounts.change(admin, user, **unchanged | {"roles": (Role.MEMBER,)})
    )
    await revoked_by(lambda _: identity.accounts.give_temporary_password(admin, user))
    await identity.accounts.change(admin, user, **unchanged | {"disabled": True})
    issued = await identity.tokens.issue((await identity.accounts.load(*pair)).value)
    with pytest.raises(TokenRevoked):
        await identity.sign_in.authenticate(issued.token, ORIGIN)


async def test_concurrent_sign_outs_all_take_effect(identity: Identity) -> None:
    admin = await identity.administrator("alpha", PASSWORD)
    before = (await identity.accounts.load(admin.tenant, admin.user)).value.security_version
    await asyncio.gather(*(identity.sign_in.sign_out_everywhere(admin) for _ in range(5)))
    after = (await identity.accounts.load(admin.tenant, admin.user)).value.security_version
    assert after == before + 5
