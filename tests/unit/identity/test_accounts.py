"""Users and tenants: made once for each Idempotency-Key, and nothing half done where a name is taken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.base.errors import (
    Conflict,
    IdempotencyKeyReused,
    InvalidInput,
    NotFound,
    PreconditionFailed,
    SignInRefused,
)
from shared.base.partitions import OPERATOR, Partition
from shared.identity.accounts import USER_KIND, USERNAME_KIND
from shared.identity.tenants import SLUG_KIND, TENANT_KIND
from shared.journal.idempotency import IdempotencyKey
from shared.keys.names import tenant_key_name
from tests.support.identity import EMPLOYEE, ORIGIN, SECRET, Identity, Stores

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse battery staple"


def key_of(principal: Principal, operation: str) -> IdempotencyKey:
    return IdempotencyKey(principal.tenant, f"{principal.user}\n{operation}", "k" * 16)


async def test_a_repeated_request_makes_one_user_and_shows_the_password_once(
    identity: Identity, stores: Stores
) -> None:
    admin = await identity.administrator("alpha", PASSWORD)
    key = key_of(admin, "users")
    first = await identity.accounts.create(admin, "anna", (Role.READER,), key)
    again = await identity.accounts.create(admin, "anna", (Role.READER,), key)
    assert first.password is not None
    assert (again.password, again.user) == (None, first.user)
    assert len(await stores.stored(Partition(admin.tenant), USER_KIND)) == 2
    with pytest.raises(IdempotencyKeyReused):
        await identity.accounts.create(admin, "bert", (Role.READER,), key)


async def test_concurrent_repeated_requests_make_one_user(
    identity: Identity, stores: Stores
) -> None:
    admin = await identity.administrator("alpha", PASSWORD)
    key = key_of(admin, "users")
    made = await asyncio.gather(
        *(identity.accounts.create(admin, "anna", (Role.READER,), key) for _ in range(4))
    )
    assert len({temporary.user.id for temporary in made}) == 1
    assert sum(temporary.password is not None for temporary in made) == 1
    assert len(await stores.stored(Partition(admin.tenant), USER_KIND)) == 2


async def test_a_taken_username_leaves_nothing_half_done(
    identity: Identity, stores: Stores
) -> None:
    admin = await identity.administrator("alpha", PASSWORD)
    here = Partition(admin.tenant)
    before = [await stores.stored(here, kind) for kind in (USER_KIND, USERNAME_KIND)]
    key = key_of(admin, "users")
    with pytest.raises(Conflict, match="username is taken"):
        await identity.accounts.create(admin, "admin", (Role.READER,), key)
    assert [await stores.stored(here, kind) for kind in (USER_KIND, USERNAME_KIND)] == before
    made = await identity.accounts.create(admin, "anna", (Role.READER,), key)
    assert made.password is not None, "the key was not used up"


COMPOSED, DECOMPOSED = "jos\u00e9@x.de", "jose\u0301@x.de"


@pytest.mark.parametrize("typed", [DECOMPOSED, "JOS\u00c9@x.de", "\uff4a\uff4fs\u00e9@x.de"])
async def test_two_forms_of_a_username_are_one_account(identity: Identity, typed: str) -> None:
    admin = await identity.administrator("alpha", PASSWORD)
    made = await identity.accounts.create(admin, typed, (Role.READER,), None)
    assert made.user.username == COMPOSED
    for form in (COMPOSED, DECOMPOSED, typed):
        found = await identity.accounts.find(admin.tenant, form)
        assert found is not None
        assert found.value.id == made.user.id
        with pytest.raises(Conflict, match="username is taken"):
            await identity.accounts.create(admin, form, (Role.READER,), None)


async def test_a_username_that_is_none_is_refused_by_the_service_too(
    identity: Identity, stores: Stores
) -> None:
    admin = await identity.administrator("alpha", PASSWORD)
    for typed in ("a b", "ad\u200bmin", "\u0130" * 254, ""):
        with pytest.raises(InvalidInput):
            await identity.accounts.create(admin, typed, (Role.READER,), None)
        with pytest.raises(InvalidInput):
            await identity.bootstrap.create_operator(SECRET, typed, ORIGIN)
    assert len(await stores.stored(Partition(admin.tenant), USER_KIND)) == 1


async def test_the_same_username_in_two_tenants(identity: Identity) -> None:
    alpha, beta = [await identity.administrator(slug, PASSWORD) for slug in ("alpha", "beta")]
    assert alpha.user != beta.user
    with pytest.raises(NotFound, match="There is no such user in your tenant"):
        await identity.accounts.read(alpha, beta.user)


async def test_a_repeated_request_makes_one_tenant(identity: Identity, stores: Stores) -> None:
    key = key_of(EMPLOYEE, "tenants")
    first = await identity.tenants.create(EMPLOYEE, "alpha", "admin", key)
    again = await identity.tenants.create(EMPLOYEE, "alpha", "admin", key)
    assert first.administrator.password is not None
    assert again.administrator.password is None
    assert (again.tenant, again.administrator.user) == (first.tenant, first.administrator.user)
    assert len(await stores.stored(Partition(OPERATOR), TENANT_KIND)) == 1
    with pytest.raises(IdempotencyKeyReused):
        await identity.tenants.create(EMPLOYEE, "beta", "admin", key)


async def test_a_new_tenant_has_a_key_and_its_rotation_on_the_agenda(
    identity: Identity, stores: Stores
) -> None:
    tenant = (await identity.tenants.create(EMPLOYEE, "alpha", "admin", None)).tenant
    assert await stores.key_vault.public_key(tenant_key_name(tenant.id))
    noted = [
        item
        for partition in stores.partitions()
        if partition.part.startswith("agenda-")
        for item in await stores.stored(partition, "agenda-rotate-tenant-key")
    ]
    assert [item["partition"] for item in noted] == [str(Partition(tenant.id))]


@pytest.mark.parametrize("slug", ["alpha", OPERATOR])
async def test_a_taken_slug_leaves_nothing_half_done(
    identity: Identity, stores: Stores, slug: str
) -> None:
    await identity.tenants.create(EMPLOYEE, "alpha", "admin", None)
    before = stores.partitions()
    with pytest.raises(Conflict, match="slug is taken"):
        await identity.tenants.create(EMPLOYEE, slug, "admin", None)
    assert stores.partitions() == before
    assert len(await stores.stored(Partition(OPERATOR), TENANT_KIND)) == 1


async def test_concurrent_tenants_of_one_slug_leave_one_with_a_key(
    identity: Identity, stores: Stores
) -> None:
    outcomes = await asyncio.gather(
        *(identity.tenants.create(EMPLOYEE, "alpha", "admin", None) for _ in range(3)),
        return_exceptions=True,
    )
    (made,) = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 2
    assert await identity.tenants.resolve("alpha") == made.tenant.id
    for kind in (TENANT_KIND, SLUG_KIND):
        assert len(await stores.stored(Partition(OPERATOR), kind)) == 1
    with_key = []
    for tenant in {partition.tenant for partition in stores.partitions()} - {OPERATOR}:
        try:
            await stores.key_vault.public_key(tenant_key_name(tenant))
        except NotFound:
            continue
        with_key.append(tenant)
    assert with_key == [made.tenant.id]


async def test_pages_of_users_and_tenants(identity: Identity, stores: Stores) -> None:
    admin = await identity.administrator("alpha", PASSWORD)
    for username in ("anna", "bert"):
        stores.clock.advance(1)
        await identity.accounts.create(admin, username, (Role.READER,), None)
    first = await identity.accounts.page(admin, limit=2, cursor=None)
    rest = await identity.accounts.page(admin, limit=2, cursor=first.cursor)
    names = [user.username for user in (*first.items, *rest.items)]
    assert (names, rest.cursor) == (["admin", "anna", "bert"], None)
    listed = await identity.tenants.page(EMPLOYEE, limit=2, cursor=None)
    assert [tenant.slug for tenant in listed.items] == ["alpha"]
    with pytest.raises(InvalidInput):
        await identity.accounts.page(admin, limit=2, cursor="invalid")


async def test_a_change_under_a_stale_etag(identity: Identity) -> None:
    admin = await identity.administrator("alpha", PASSWORD)
    user = (await identity.accounts.create(admin, "anna", (Role.READER,), None)).user.id
    stored = await identity.accounts.read(admin, user)
    change: dict[str, Any] = {"roles": None, "disabled": True, "if_match": stored.etag}
    changed = await identity.accounts.change(admin, user, **change)
    assert changed.value.disabled
    with pytest.raises(PreconditionFailed):
        await identity.accounts.change(admin, user, **change)


@pytest.mark.parametrize(
    ("tenant", "roles"),
    [
        ("ten_a", ()),
        ("ten_a", (Role.READER, Role.READER)),
        ("ten_a", (Role.READER, Role.OPERATOR)),
        (OPERATOR, (Role.SUPPORT, Role.MEMBER)),
    ],
)
async def test_roles_that_users_of_a_tenant_cannot_have(
    identity: Identity, tenant: str, roles: tuple[Role, ...]
) -> None:
    caller = Principal(tenant, "usr_a", (Role.ADMINISTRATOR,))
    with pytest.raises(InvalidInput):
        await identity.accounts.create(caller, "anna", roles, None)


async def test_the_first_operator_is_created_once(identity: Identity, stores: Stores) -> None:
    assert not await identity.bootstrap.has_operator()
    with pytest.raises(SignInRefused):
        await identity.bootstrap.create_operator("wrong", "root", ORIGIN)
    outcomes = await asyncio.gather(
        *(identity.bootstrap.create_operator(SECRET, f"root{n}", ORIGIN) for n in range(3)),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 2
    assert await identity.bootstrap.has_operator()
    assert len(await stores.stored(Partition(OPERATOR), USER_KIND)) == 1
