"""The gateway's rules and the API's routes agree: what only staff may do is only for their networks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

import pytest
from fastapi.routing import APIRoute

from functions.api import pages
from functions.api.app import CAPABILITIES, PREFIX, module_of
from functions.api.guard import PERMISSION_FIELD, PUBLIC
from shared.access.permissions import PERMISSIONS, STAFF_ROLES, Role
from tests.support.infra.snapshots import ENVIRONMENTS, FULL, load

GATEWAY = "Microsoft.Network/applicationGateways"
WEB_FIREWALL = "Microsoft.Network/ApplicationGatewayWebApplicationFirewallPolicies"
FOR_STAFF_WITHOUT_SIGN_IN = {f"{PREFIX}/auth/bootstrap"}
"""Public to the app, because it makes the first person who can sign in."""


def _routes() -> Iterator[tuple[str, str]]:
    """The address and the permission of every route."""
    for capability in (*map(module_of, CAPABILITIES), pages):
        for route in capability.router.routes:
            assert isinstance(route, APIRoute)
            yield route.path, str((route.openapi_extra or {})[PERMISSION_FIELD])


def _staff_paths(environment: str, policy: str) -> tuple[str, ...]:
    properties = load(environment).one(WEB_FIREWALL, f"-{policy}")["properties"]
    (rule,) = (
        rule for rule in properties["customRules"] if rule["name"] == "staffFromTheirNetworks"
    )
    return tuple(rule["matchConditions"][0]["matchValues"])


@pytest.mark.parametrize("policy", ["api", "contents"])
@pytest.mark.parametrize("environment", FULL)
def test_staff_paths_are_the_routes_that_only_staff_may_use(environment: str, policy: str) -> None:
    for_tenants = set[str]().union(
        *(PERMISSIONS[role] for role in Role if role not in STAFF_ROLES), {PUBLIC}
    )
    routes = list(_routes())
    wanted = {path for path, permission in routes if permission not in for_tenants}
    wanted |= FOR_STAFF_WITHOUT_SIGN_IN
    paths = _staff_paths(environment, policy)
    assert len(wanted) >= 4
    assert {path for path, _ in routes if path.startswith(paths)} == wanted


@pytest.mark.parametrize("environment", FULL)
def test_the_app_admits_employees_from_where_the_gateway_does(environment: str) -> None:
    snapshot = load(environment)
    settings = snapshot.one("Microsoft.Web/sites")["properties"]["siteConfig"]["appSettings"]
    given = {item["name"]: item["value"] for item in settings}
    rules = snapshot.one(WEB_FIREWALL, "-api")["properties"]["customRules"]
    (staff,) = (rule for rule in rules if rule["name"] == "staffFromTheirNetworks")
    networks = staff["matchConditions"][1]["matchValues"]
    assert given["STRONGROOM_STAFF_NETWORKS"].split(",") == networks


@pytest.mark.parametrize("policy", ["api", "contents"])
@pytest.mark.parametrize(
    "spelling",
    [
        "/api/v1/tenants",
        "/api/v1/staff-grants/grt_1/documents/doc_1/content",
        "/API/v1/Tenants",
        "/api/v1/%74enants",
        "/api/v1/documents/../tenants",
        "/api/v1/documents/%2e%2E/tenants",
        "/api/v1/documents/%2e%2e%2ftenants",
        "/api/v1/./tenants",
        "/api/v1//tenants",
        "/api/v1/%2ftenants",
        "/api/v1\\tenants",
        "/api/v1/%2574enants",
    ],
)
def test_no_spelling_of_a_staff_path_passes_from_elsewhere(spelling: str, policy: str) -> None:
    assert _blocked(policy, spelling)


@pytest.mark.parametrize("policy", ["api", "contents"])
def test_paths_that_clients_send_pass(policy: str) -> None:
    sent = [path.replace("{", "").replace("}", "") for path, _ in _routes()]
    staff = _staff_paths("production", policy)
    assert [path for path in sent if not path.startswith(staff) and _blocked(policy, path)] == []
    assert not _blocked(policy, "/api/v1/documents?limit=50&cursor=eyJhIjoxfQ-_%3D")


def _blocked(policy: str, address: str) -> bool:
    """Whether a rule on the address blocks a request that comes from outside the staff's networks."""
    rules = load("production").one(WEB_FIREWALL, f"-{policy}")["properties"]["customRules"]
    for rule in rules:
        if rule["ruleType"] != "MatchRule":
            continue
        on_address, *others = rule["matchConditions"]
        assert all(other["operator"] == "IPMatch" for other in others)
        seen = unquote(address) if "UrlDecode" in on_address["transforms"] else address
        seen = seen.lower() if "Lowercase" in on_address["transforms"] else seen
        test = {"BeginsWith": seen.startswith, "Contains": seen.__contains__}[
            on_address["operator"]
        ]
        found = any(test(value) for value in on_address["matchValues"])
        if found != on_address.get("negationConditon", False):
            return True
    return False


def test_every_route_passes_the_gateway() -> None:
    routes = [path for path, _ in _routes()]
    assert len(routes) > 20
    assert all(path.startswith("/api/v1/") for path in routes)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_alert_on_sign_ins_looks_where_people_sign_in(environment: str) -> None:
    rule = load(environment).one("Microsoft.Insights/scheduledQueryRules", "sign-in-attack")
    (query,) = (condition["query"] for condition in rule["properties"]["criteria"]["allOf"])
    (start,) = re.findall(r'"http\.route"\]\) startswith "([^"]*)"', query)
    assert f"{PREFIX}/auth/sign-in".startswith(start)
    assert f"{PREFIX}/auth/sign-in" in {path for path, _ in _routes()}


@pytest.mark.parametrize("environment", FULL)
def test_the_gateway_asks_for_health_where_it_is_answered(environment: str) -> None:
    probes = load(environment).one(GATEWAY)["properties"]["probes"]
    (path,) = (probe["properties"]["path"] for probe in probes if probe["name"] == "api")
    assert (path, PUBLIC) in set(_routes())
