"""Every promise holds in every environment, and each check is shown to fail where it is broken."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache

import pytest

from tests.support.infra import promises_network, promises_operation, promises_stores
from tests.support.infra.mutations import BUS, MUTATIONS, SITE, Promise, put
from tests.support.infra.snapshots import ENVIRONMENTS, Snapshot, load

PROMISES: tuple[Promise, ...] = (
    promises_stores.private,
    promises_stores.standby_reaches_the_data,
    promises_stores.without_keys,
    promises_stores.modern_tls,
    promises_stores.our_own_encryption,
    promises_stores.in_two_regions,
    promises_stores.partitioned,
    promises_stores.backups_cannot_be_changed,
    promises_stores.nobody_shortens_retention,
    promises_stores.key_store_forgets,
    promises_stores.staging_forgets,
    promises_stores.topology,
    promises_network.one_way_in,
    promises_network.edge_tls,
    promises_network.web_firewall,
    promises_network.downloads_stream,
    promises_network.browsers_named,
    promises_network.names_only,
    promises_network.app_reaches_its_services,
    promises_network.names_of_tenants_resolve,
    promises_operation.everything_logged,
    promises_operation.app_settings,
    promises_operation.roles,
    promises_operation.least_compute,
    promises_operation.kept_so,
    promises_operation.alerts,
    promises_operation.partitions_watched,
    promises_operation.tells_where_it_is,
)


@cache
def _loaded(environment: str) -> Snapshot:
    return load(environment)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_promise_holds(promise: Promise, environment: str) -> None:
    assert promise(_loaded(environment)) == []


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(ENVIRONMENTS, 2)))
def test_environments_share_nothing(one: str, other: str) -> None:
    assert promises_operation.nothing_shared(_loaded(one), _loaded(other)) == []


NETWORK = "Microsoft.Network/virtualNetworks"
STAGING = "00000000-0000-4000-8000-000000000002"

CASES = [
    pytest.param(environment, promise, mutate, id=f"{environment}-{promise.__name__}-{number}")
    for environment, mutations in MUTATIONS.items()
    for number, (promise, mutate) in enumerate(mutations)
]


@pytest.mark.parametrize(("environment", "promise", "mutate"), CASES)
def test_broken_promise_is_noticed(
    environment: str, promise: Promise, mutate: Callable[[Snapshot], None]
) -> None:
    snapshot = _loaded(environment).copy()
    mutate(snapshot)
    assert promise(snapshot) != []


def test_every_promise_has_been_broken() -> None:
    broken = {promise for mutations in MUTATIONS.values() for promise, _ in mutations}
    assert broken == set(PROMISES)


@pytest.mark.parametrize(
    ("kind", "path", "taken"),
    [
        (NETWORK, "properties.addressSpace.addressPrefixes.0", "10.20.0.0/16"),
        (SITE, "properties.virtualNetworkSubnetId", f"/subscriptions/{STAGING}/x"),
        (SITE, "properties.siteConfig.appSettings.0.value", "the bus of staging"),
    ],
)
def test_sharing_is_noticed(kind: str, path: str, taken: str) -> None:
    staging = _loaded("staging")
    production = _loaded("production").copy()
    if taken == "the bus of staging":
        taken = f"{staging.one(BUS)['name']}.servicebus.windows.net"
    put(kind, "", path, taken)(production)
    assert promises_operation.nothing_shared(production, staging) != []


def test_fail_over_touches_only_the_other_region() -> None:
    production, failover = _loaded("production"), _loaded("production.failover")
    there = {item["id"] for item in production.resources}
    assert failover.resources
    assert [item["id"] for item in failover.resources if item["id"] in there] == []
    places = {item["location"] for item in failover.resources if "location" in item}
    assert places == {"northeurope", "global"}


@pytest.mark.parametrize(
    "promise",
    [
        promises_network.one_way_in,
        promises_network.edge_tls,
        promises_network.web_firewall,
        promises_network.downloads_stream,
        promises_stores.staging_forgets,
        promises_operation.app_settings,
        promises_operation.tells_where_it_is,
    ],
    ids=lambda promise: promise.__name__,
)
def test_promise_holds_after_fail_over(promise: Promise) -> None:
    failover = _loaded("production.failover").copy()
    failover.environment = "production"
    assert promise(failover) == []


def test_fail_over_finds_the_same_data() -> None:
    def stores(snapshot: Snapshot) -> dict[str, str]:
        given = snapshot.one(SITE)["properties"]["siteConfig"]["appSettings"]
        names = (
            *("PRIMARY", "REPLICA", "BACKUP_ACCOUNT", "BACKUP_KEYS"),
            *("COSMOS", "KEY_VAULT", "SERVICE_BUS"),
        )
        return {
            item["name"]: item["value"]
            for item in given
            if item["name"].startswith(tuple(f"STRONGROOM_{name}" for name in names))
        }

    found = stores(_loaded("production.failover"))
    assert len(found) == 8
    assert found == stores(_loaded("production"))
