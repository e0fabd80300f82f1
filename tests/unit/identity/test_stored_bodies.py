"""Record bodies of release 0.1 are read as they are, and written in today's form when changed."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.adapters.memory.records import MemoryRecords
from shared.base.errors import Conflict, InvalidInput, RateLimited, SignInRefused
from shared.base.models import encode
from shared.base.partitions import OPERATOR, Partition
from shared.crypto.tokens import ROOT_SIZE, SALT_SIZE
from shared.identity.lockout import FREE_ATTEMPTS
from shared.identity.reservations import username_id
from shared.identity.tokens import ROOT_KEY_NAME
from shared.ports.records import Create, Record
from tests.support.identity import EMPLOYEE, ORIGIN, SECRET, FakeHasher, Identity, Stores

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse battery staple"
TENANT = "ten_00000000000000000000000000"
USER = "usr_00000000000000000000000000"
HERE, DIRECTORY = Partition(TENANT), Partition(OPERATOR)
ATTEMPTS_ID = hashlib.sha256(b"alpha\nanna").hexdigest()


async def put(records: MemoryRecords, partition: Partition, kind: str, id: str, body: Any) -> None:
    await records.commit(partition, [Create(Record(partition, kind, id, body))])


@pytest.fixture
async def former(stores: Stores) -> Stores:
    """The stores with a tenant and a user that release 0.1 wrote."""
    tenant = {"id": TENANT, "slug": "alpha", "created_at": "2025-12-01T00:00:00Z"}
    user = {
        "id": USER,
        "tenant": TENANT,
        "username": "anna",
        "roles": ["administrator"],
        "disabled": False,
        "password": await FakeHasher().hash(PASSWORD),
        "temporary_until": None,
        "security_epoch": 4,
        "created_at": "2025-12-01T00:00:00Z",
    }
    await put(stores.records, DIRECTORY, "tenant", TENANT, tenant)
    await put(stores.records, DIRECTORY, "tenant-slug", "alpha", {"tenant": TENANT})
    await put(stores.records, HERE, "user", USER, user)
    await put(stores.records, HERE, "username", username_id("anna"), {"user": USER})
    return stores


async def test_a_former_user_signs_in(identity: Identity, former: Stores) -> None:
    signed_in = await identity.try_sign_in("alpha", "anna", PASSWORD)
    assert (signed_in.user.id, signed_in.user.security_version) == (USER, 4)
    own = await identity.sign_in.authenticate(signed_in.token, ORIGIN)
    assert own.user == USER
    assert (await identity.tenants.read(EMPLOYEE, TENANT)).slug == "alpha"


async def test_a_changed_user_is_written_in_todays_form(identity: Identity, former: Stores) -> None:
    own = Principal(TENANT, USER, (Role.ADMINISTRATOR,))
    await identity.sign_in.sign_out_everywhere(own)
    (body,) = await former.stored(HERE, "user")
    assert body["security_version"] == 5
    assert "security_epoch" not in body


async def test_a_former_username_and_slug_stay_taken(identity: Identity, former: Stores) -> None:
    own = Principal(TENANT, USER, (Role.ADMINISTRATOR,))
    with pytest.raises(Conflict, match="username is taken"):
        await identity.accounts.create(own, "anna", (Role.READER,), None)
    with pytest.raises(Conflict, match="slug is taken"):
        await identity.tenants.create(EMPLOYEE, "alpha", "admin", None)


async def put_user(stores: Stores, number: int, username: str) -> str:
    """A user under a username that release 0.1 accepted; their id."""
    user = {
        "id": f"usr_{number:026d}",
        "tenant": TENANT,
        "username": username,
        "roles": ["reader"],
        "password": await FakeHasher().hash(PASSWORD),
        "created_at": "2025-12-01T00:00:00Z",
    }
    await put(stores.records, HERE, "user", str(user["id"]), user)
    await put(stores.records, HERE, "username", username_id(username), {"user": user["id"]})
    return str(user["id"])


@pytest.mark.parametrize(
    ("kept", "typed"),
    [
        ("jose\u0301@x.de", ["jose\u0301@x.de", "jos\u00e9@x.de", " JOSE\u0301@X.DE "]),
        ("\u265aking", ["\u265aking", "\u265aKING"]),
        ("ad\u200bmin", ["ad\u200bmin"]),
        ("p\u0430ypal", ["p\u0430ypal", "P\u0410YPAL"]),
        ("i\u0307" * 254, ["\u0130" * 254, "i\u0307" * 254]),
        ("\uff41nna", ["\uff41nna", "\uff21NNA"]),
    ],
)
async def test_a_user_under_a_former_form_of_a_username_signs_in_and_is_listed(
    identity: Identity, former: Stores, kept: str, typed: list[str]
) -> None:
    user = await put_user(former, 1, kept)
    for name in typed:
        assert (await identity.try_sign_in("alpha", name, PASSWORD)).user.id == user
    own = Principal(TENANT, USER, (Role.ADMINISTRATOR,))
    listed = (await identity.accounts.page(own, limit=10, cursor=None)).items
    assert [each.username for each in listed] == ["anna", kept]
    changed = await identity.accounts.change(own, user, roles=None, disabled=True, if_match=None)
    assert (changed.value.disabled, changed.value.username) == (True, kept)
    with pytest.raises((Conflict, InvalidInput)):
        await identity.accounts.create(own, typed[0], (Role.READER,), None)


async def test_two_users_under_two_former_forms_of_one_username_both_sign_in(
    identity: Identity, former: Stores
) -> None:
    names = ("jos\u00e9", "jose\u0301")
    users = [await put_user(former, number, name) for number, name in enumerate(names, start=1)]
    for name, user in zip(names, users, strict=True):
        assert (await identity.try_sign_in("alpha", name, PASSWORD)).user.id == user


async def test_a_former_form_does_not_give_more_attempts(
    identity: Identity, former: Stores
) -> None:
    await put_user(former, 1, "jose\u0301")
    typed = ("jose\u0301", "jos\u00e9", "JOS\u00c9", " Jose\u0301", "\uff4aos\u00e9")
    for number in range(FREE_ATTEMPTS):
        with pytest.raises(SignInRefused):
            await identity.try_sign_in("alpha", typed[number % len(typed)], "wrong")
    for name in typed:
        with pytest.raises(RateLimited):
            await identity.try_sign_in("alpha", name, PASSWORD)


async def test_a_former_lock_holds_and_is_counted_on(identity: Identity, former: Stores) -> None:
    body = {"count": 10, "locked_until": "2026-01-01T00:01:00Z"}
    await put(former.records, HERE, "sign-in-attempts", ATTEMPTS_ID, body)
    with pytest.raises(RateLimited):
        await identity.try_sign_in("alpha", "anna", PASSWORD)
    former.clock.advance(60)
    await identity.try_sign_in("alpha", "anna", PASSWORD)
    assert await former.stored(HERE, "sign-in-attempts") == []


async def test_former_attempts_go_on_under_the_same_record(
    identity: Identity, former: Stores
) -> None:
    await put(
        former.records,
        HERE,
        "sign-in-attempts",
        ATTEMPTS_ID,
        {"count": 9, "locked_until": None},
    )
    with pytest.raises(SignInRefused):
        await identity.try_sign_in("alpha", "anna", "wrong")
    (body,) = await former.stored(HERE, "sign-in-attempts")
    assert body["count"] == 10
    with pytest.raises(RateLimited):
        await identity.try_sign_in("alpha", "anna", PASSWORD)


async def test_a_former_token_ring_is_read_and_rotated(identity: Identity, former: Stores) -> None:
    await former.key_vault.create(ROOT_KEY_NAME, "wrap")
    wrapped = await former.key_vault.wrap(ROOT_KEY_NAME, bytes(ROOT_SIZE))
    key = {
        "kid": "key_00000000000000000000000000",
        "salt": encode(bytes(SALT_SIZE)),
        "created_at": "2025-12-31T00:00:00Z",
    }
    ring = {"keys": [key], "root_version": wrapped.version, "root": encode(wrapped.ciphertext)}
    await put(former.records, DIRECTORY, "token-ring", "ring", ring)
    token = (await identity.try_sign_in("alpha", "anna", PASSWORD)).token
    assert await identity.tokens.rotate()
    assert (await identity.tokens.read(token)).user == USER
    (rotated,) = await former.stored(DIRECTORY, "token-ring")
    assert rotated["keys"][0] == key


async def test_a_former_first_operator_remains_the_only_one(
    identity: Identity, former: Stores
) -> None:
    await put(former.records, DIRECTORY, "first-operator", "once", {"user": USER})
    assert await identity.bootstrap.has_operator()
    with pytest.raises(Conflict, match="first operator exists"):
        await identity.bootstrap.create_operator(SECRET, "root", ORIGIN)
