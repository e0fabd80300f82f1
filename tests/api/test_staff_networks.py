"""Employees sign in and make requests from the networks of staff alone; users of tenants from anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from shared.base.partitions import OPERATOR
from shared.identity.lockout import FREE_ATTEMPTS
from shared.wiring.settings import Settings
from tests.support.app import BASE_URL, PASSWORD, App, Opened, problem

pytestmark = pytest.mark.anyio

NETWORKS = "203.0.113.0/28, 2001:db8:5::/48"
HEADER = "Strongroom-Client-Address"
INSIDE = ["203.0.113.7", "2001:db8:5::9", "::ffff:203.0.113.7"]
OUTSIDE = ["203.0.113.16", "198.51.100.1", "2001:db8:6::9", "::ffff:198.51.100.1", "unix", ""]


@asynccontextmanager
async def client(app: App, address: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose connections come from an address."""
    transport = httpx.ASGITransport(app.apps[0], client=(address, 50_000))
    async with httpx.AsyncClient(transport=transport, base_url=f"{BASE_URL}/api/v1/") as http:
        yield http


async def refusals(app: App) -> list[dict[str, Any]]:
    entries = [body["entry"] for body in await app.entries(OPERATOR)]
    return [entry for entry in entries if entry["outcome"] == "refused"]


@pytest.mark.parametrize("address", INSIDE)
async def test_an_employee_inside_is_admitted(opened: Opened, address: str) -> None:
    async with opened(staff_networks=NETWORKS) as app, client(app, address) as http:
        auth = await app.auth(OPERATOR, "operator")
        assert (await http.get("tenants", headers=auth)).status_code == 200
        assert await refusals(app) == []


@pytest.mark.parametrize("address", OUTSIDE)
async def test_an_employee_outside_is_refused_whatever_they_ask_for(
    opened: Opened, alpha: str, address: str
) -> None:
    async with opened(staff_networks=NETWORKS) as app, client(app, address) as http:
        auth = await app.auth(OPERATOR, "operator")
        user = (await app.found(OPERATOR, "operator")).value.id
        for path in ("tenants", "auth/account", "documents", "staff-grants"):
            answer = await http.get(path, headers=auth)
            assert (answer.status_code, problem(answer)) == (403, "forbidden"), path
        entries = await refusals(app)
        assert [entry["action"] for entry in entries] == ["request"] * 4
        assert {entry["actor"]["id"] for entry in entries} == {user}
        # Users of tenants are nobody's staff.
        assert (await http.get("documents", headers=await app.auth(alpha))).status_code == 200


async def test_without_networks_the_app_leaves_it_to_the_edge(opened: Opened) -> None:
    async with opened() as app, client(app, "198.51.100.1") as http:
        auth = await app.auth(OPERATOR, "operator")
        assert (await http.get("tenants", headers=auth)).status_code == 200


@pytest.mark.parametrize("header", [HEADER, "X-Forwarded-For", "Forwarded", "X-Real-IP"])
async def test_no_header_moves_who_comes_from_outside_without_a_proxy(
    opened: Opened, header: str
) -> None:
    settings = {"staff_networks": NETWORKS, "client_address_header": HEADER}
    async with opened(**settings) as app, client(app, "198.51.100.1") as http:
        auth = await app.auth(OPERATOR, "operator")
        answer = await http.get("tenants", headers=auth | {header: "203.0.113.7"})
        assert answer.status_code == 403


async def test_behind_a_proxy_the_address_is_the_one_that_the_proxy_saw(opened: Opened) -> None:
    settings: dict[str, Any] = {"trusted_proxies": 1, "client_address_header": HEADER}
    async with opened(staff_networks=NETWORKS, **settings) as app, client(app, "10.0.0.1") as http:
        auth = await app.auth(OPERATOR, "operator")
        for seen, status in (
            ("203.0.113.7", 200),
            ("[2001:db8:5::9]:50123", 200),
            ("198.51.100.1", 403),
            ("203.0.113.7, 198.51.100.1", 403),  # the first was sent by the client
            ("Zebra", 403),
        ):
            answer = await http.get("tenants", headers=auth | {HEADER: seen})
            assert answer.status_code == status, seen
        # A proxy that says nothing, although one has to.
        assert (await http.get("tenants", headers=auth)).status_code == 403


async def test_a_sign_in_from_outside_is_refused_like_a_wrong_password(opened: Opened) -> None:
    async with opened(staff_networks=NETWORKS) as app:
        await app.user(OPERATOR, "olga", *(await app.found(OPERATOR, "operator")).value.roles)
        user = (await app.found(OPERATOR, "olga")).value.id

        async def sign_in(http: httpx.AsyncClient, password: str) -> httpx.Response:
            body = {"tenant": OPERATOR, "username": "olga", "password": password}
            return await http.post("auth/sign-in", json=body)

        async with client(app, "198.51.100.1") as outside, client(app, "203.0.113.7") as inside:
            before = len(await refusals(app))
            wrong, right = await sign_in(outside, "wrong"), await sign_in(outside, PASSWORD)
            assert (right.status_code, problem(right)) == (401, "sign-in-refused")
            varying = {"instance", "request"}
            shown = [
                {name: value for name, value in each.json().items() if name not in varying}
                for each in (wrong, right)
            ]
            assert shown[0] == shown[1]
            assert wrong.headers.keys() == right.headers.keys()
            entries = (await refusals(app))[before:]
            assert [(each["resource"], each["reason"]) for each in entries] == [
                (user, "sign-in-refused")
            ] * 2
            assert (await sign_in(inside, PASSWORD)).status_code == 200
            # Right ones from outside lock the name as wrong ones do.
            for _ in range(FREE_ATTEMPTS):
                assert (await sign_in(outside, PASSWORD)).status_code == 401
            assert (await sign_in(outside, PASSWORD)).status_code == 429


async def test_users_of_tenants_sign_in_from_anywhere(opened: Opened) -> None:
    async with opened(staff_networks=NETWORKS) as app, client(app, "198.51.100.1") as http:
        body = {"tenant": "alpha", "username": "admin", "password": PASSWORD}
        assert (await http.post("auth/sign-in", json=body)).status_code == 200


@pytest.mark.parametrize(
    "networks", ["203.0.113.7/28", "anywhere", "203.0.113.0/33", "10.0.0.0/8,"]
)
def test_what_is_no_list_of_networks_stops_the_start(networks: str) -> None:
    with pytest.raises(ValidationError, match="it needs networks such as"):
        Settings(staff_networks=networks)
