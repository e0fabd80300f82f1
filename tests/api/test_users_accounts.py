"""Several accounts of one employee over the API, and addresses of employees in tenants."""

from __future__ import annotations

import pytest

from shared.base.partitions import OPERATOR
from tests.support.app import App, problem

pytestmark = pytest.mark.anyio


async def test_an_employee_gets_a_second_account(app: App) -> None:
    headers = await app.auth(OPERATOR, "operator")
    first = (await app.found(OPERATOR, "support")).value.id
    body = {"username": "night-shift", "roles": ["operator"], "account_of": first}
    made = await app.http.post("users", json=body, headers=headers)
    assert made.status_code == 201, made.text
    user = made.json()["user"]
    assert user["account_of"] == first
    shown = await app.http.get(f"users/{user['id']}", headers=headers)
    assert shown.json() == user
    listed = (await app.http.get("users?limit=200", headers=headers)).json()["items"]
    assert {each["id"]: each["account_of"] for each in listed}[first] is None
    for roles in (["officer"], ["support", "officer"]):
        again = body | {"username": "another", "roles": roles}
        answer = await app.http.post("users", json=again, headers=headers)
        assert (answer.status_code, problem(answer)) == (400, "invalid-input")
    answer = await app.http.patch(
        f"users/{user['id']}", json={"roles": ["officer"]}, headers=headers
    )
    assert (answer.status_code, problem(answer)) == (400, "invalid-input")
    chained = body | {"username": "another", "account_of": user["id"]}
    answer = await app.http.post("users", json=chained, headers=headers)
    assert (answer.status_code, problem(answer)) == (400, "invalid-input")


async def test_users_of_tenants_have_one_account(
    app: App, alpha: str, auth: dict[str, str]
) -> None:
    member = (await app.found(alpha, "member")).value.id
    body = {"username": "anna", "roles": ["reader"], "account_of": member}
    answer = await app.http.post("users", json=body, headers=auth)
    assert (answer.status_code, problem(answer)) == (400, "invalid-input")


async def test_an_employees_address_is_taken_in_every_tenant(
    app: App, auth: dict[str, str]
) -> None:
    headers = await app.auth(OPERATOR, "operator")
    body = {"username": "olga@example.com", "roles": ["support"]}
    assert (await app.http.post("users", json=body, headers=headers)).status_code == 201
    answer = await app.http.post("users", json=body | {"roles": ["reader"]}, headers=auth)
    assert (answer.status_code, problem(answer)) == (409, "conflict")
    tenant = {"slug": "gamma", "administrator": "olga@example.com"}
    answer = await app.http.post("tenants", json=tenant, headers=headers)
    assert (answer.status_code, problem(answer)) == (409, "conflict")
