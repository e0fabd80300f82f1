"""Roles: who may have which, and what a lack of them is called."""

from __future__ import annotations

import pytest

from shared.access.permissions import STAFF_ROLES, Permission, Role, check, check_roles, may
from shared.base.errors import Forbidden, InvalidInput
from shared.base.partitions import OPERATOR


@pytest.mark.parametrize(
    ("tenant", "roles"),
    [
        ("ten_a", ()),
        ("ten_a", (Role.MEMBER, Role.MEMBER)),
        ("ten_a", (Role.OPERATOR,)),
        ("ten_a", (Role.MEMBER, Role.OFFICER)),
        (OPERATOR, (Role.ADMINISTRATOR,)),
        (OPERATOR, (Role.OFFICER, Role.OPERATOR)),
        (OPERATOR, (Role.SUPPORT, Role.OFFICER)),
        (OPERATOR, tuple(sorted(STAFF_ROLES))),
    ],
)
def test_roles_that_a_user_cannot_have(tenant: str, roles: tuple[Role, ...]) -> None:
    with pytest.raises(InvalidInput):
        check_roles(tenant, roles)


def test_roles_that_a_user_can_have() -> None:
    check_roles("ten_a", tuple(sorted(set(Role) - STAFF_ROLES)))
    check_roles(OPERATOR, (Role.OPERATOR, Role.SUPPORT))
    check_roles(OPERATOR, (Role.OFFICER,))


def test_no_employee_reads_documents() -> None:
    for permission in (Permission.DOCUMENTS_READ, Permission.DOCUMENTS_ERASE):
        assert not may(STAFF_ROLES, permission)
        with pytest.raises(Forbidden, match=permission.value):
            check(STAFF_ROLES, permission)
    check((Role.READER,), Permission.DOCUMENTS_READ)
