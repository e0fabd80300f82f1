"""One person's accounts count together, and no employee is a tenant's user under their own address."""

from __future__ import annotations

import asyncio

import pytest

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.base.errors import Conflict, IdempotencyKeyReused, InvalidInput
from shared.base.partitions import OPERATOR, Partition
from shared.identity.models import User
from shared.journal.idempotency import IdempotencyKey
from shared.keys.names import tenant_key_name
from tests.support.identity import EMPLOYEE, Identity, Stores

pytestmark = pytest.mark.anyio

PASSWORD = "correct horse battery staple"


async def employee(
    identity: Identity, username: str, *roles: Role, account_of: str = "", by: Principal = EMPLOYEE
) -> User:
    made = await identity.accounts.create(by, username, roles, None, account_of)
    return made.user


async def change(identity: Identity, user: str, *roles: Role, disabled: bool | None = None) -> User:
    changed = await identity.accounts.change(
        EMPLOYEE, user, roles=roles or None, disabled=disabled, if_match=None
    )
    return changed.value


async def test_a_second_account_is_of_the_same_person(identity: Identity) -> None:
    first = await employee(identity, "olga", Role.OPERATOR)
    second = await employee(identity, "olga-support", Role.SUPPORT, account_of=first.id)
    assert (first.account_of, second.account_of) == ("", first.id)
    assert first.person == second.person == first.id


async def test_whose_account_it_is_is_in_the_entry_and_in_the_request(
    identity: Identity, stores: Stores
) -> None:
    first = await employee(identity, "olga", Role.OPERATOR)
    key = IdempotencyKey(OPERATOR, f"{EMPLOYEE.user}\nusers", "k" * 16)
    roles = (Role.SUPPORT,)
    made = await identity.accounts.create(EMPLOYEE, "olga-2", roles, key, first.id)
    again = await identity.accounts.create(EMPLOYEE, "olga-2", roles, key, first.id)
    assert again.user == made.user
    with pytest.raises(IdempotencyKeyReused):
        await identity.accounts.create(EMPLOYEE, "olga-2", roles, key)
    entries = await stores.stored(Partition(OPERATOR), "audit")
    details = [each["details"] for each in entries if each["resource"] == made.user.id]
    assert {"roles": ["support"], "account_of": first.id} in details


async def test_only_a_first_account_of_an_employee_has_others(identity: Identity) -> None:
    admin = await identity.administrator("alpha", PASSWORD)
    first = await employee(identity, "olga", Role.OPERATOR)
    second = await employee(identity, "olga-2", Role.SUPPORT, account_of=first.id)
    for account_of in (second.id, "usr_" + "0" * 26, admin.user):
        with pytest.raises(InvalidInput, match="first account"):
            await employee(identity, "another", Role.SUPPORT, account_of=account_of)
    for account_of in (admin.user, first.id):
        with pytest.raises(InvalidInput, match="Only employees"):
            await employee(identity, "bert", Role.READER, account_of=account_of, by=admin)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.SUPPORT])
async def test_no_second_account_gets_around_separated_roles(
    identity: Identity, role: Role
) -> None:
    with pytest.raises(InvalidInput, match="both"):
        await employee(identity, "both", role, Role.OFFICER)
    first = await employee(identity, "olga", role)
    with pytest.raises(InvalidInput, match="both"):
        await employee(identity, "olga-2", Role.OFFICER, account_of=first.id)
    second = await employee(identity, "olga-2", Role.SUPPORT, account_of=first.id)
    third = await employee(identity, "olga-3", Role.SUPPORT, account_of=first.id)
    for user in (first, second, third):
        with pytest.raises(InvalidInput, match="both"):
            await change(identity, user.id, Role.OFFICER)
    # A disabled account can be enabled again.
    for user in (second, third):
        await change(identity, user.id, disabled=True)
    with pytest.raises(InvalidInput, match="both"):
        await change(identity, first.id, Role.OFFICER)
    officer = await employee(identity, "other", Role.OFFICER)
    assert (await change(identity, officer.id, Role.SUPPORT)).roles == (Role.SUPPORT,)


async def test_roles_that_two_accounts_get_at_once_are_checked_together(
    identity: Identity,
) -> None:
    first = await employee(identity, "olga", Role.SUPPORT)
    second, third = [
        await employee(identity, f"olga-{number}", Role.SUPPORT, account_of=first.id)
        for number in (2, 3)
    ]
    await change(identity, first.id, Role.OPERATOR)

    async def separate(*users: User) -> None:
        """Leave nothing that stands in the way of an officer, then give both at once."""
        outcomes = await asyncio.gather(
            change(identity, users[0].id, Role.OPERATOR),
            employee(identity, f"new-{users[1].id}", Role.OFFICER, account_of=first.id),
            return_exceptions=True,
        )
        assert any(isinstance(each, InvalidInput | Conflict) for each in outcomes)

    await separate(second, third)
    accounts = [await identity.accounts.load(OPERATOR, each.id) for each in (first, second, third)]
    roles = {role for each in accounts for role in each.value.roles}
    assert Role.OFFICER not in roles


async def test_an_employees_address_is_no_tenants_username(
    identity: Identity, stores: Stores
) -> None:
    admin = await identity.administrator("alpha", PASSWORD)
    await employee(identity, "olga@example.com", Role.SUPPORT)
    await employee(identity, "plain", Role.SUPPORT)
    for typed in ("olga@example.com", "OLGA@Example.com"):
        with pytest.raises(Conflict, match="cannot be used"):
            await employee(identity, typed, Role.READER, by=admin)
    # A name that is no address says nothing about who has it.
    await employee(identity, "plain", Role.READER, by=admin)
    await employee(identity, "anna@example.com", Role.READER, by=admin)
    # The other way round tenants are not searched.
    await employee(identity, "anna@example.com", Role.SUPPORT)


async def test_an_employees_address_is_no_first_administrator(
    identity: Identity, stores: Stores
) -> None:
    await employee(identity, "olga@example.com", Role.SUPPORT)
    with pytest.raises(Conflict, match="cannot be used"):
        await identity.tenants.create(EMPLOYEE, "beta", "olga@example.com", None)
    assert await identity.tenants.resolve("beta") is None
    assert tenant_key_name("ten") not in str(stores)
    made = await identity.tenants.create(EMPLOYEE, "beta", "admin@example.com", None)
    assert made.administrator.user.username == "admin@example.com"
