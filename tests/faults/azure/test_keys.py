"""Every call to Key Vault fails once, and for good."""

from __future__ import annotations

import asyncio

import pytest

from shared.adapters.azure.keys import AzureKeys
from shared.base.errors import Conflict, InternalError, NotFound, Unavailable
from shared.base.topology import load_topology
from shared.ports.clock import Runtime, system_entropy
from shared.wiring.azure import azure_adapters
from shared.wiring.settings import AZURE_SERVICES, Settings
from tests.support.contract.azure import machine, sockets_closed
from tests.support.emulators.keyvault import Vault
from tests.support.faults.cases import FAULTS

pytestmark = pytest.mark.anyio

DIGEST = bytes(32)


async def create(keys: AzureKeys) -> None:
    assert await keys.create("new", "sign") == await keys.create("new", "sign")


async def wrap_and_unwrap(keys: AzureKeys) -> None:
    assert await keys.unwrap(await keys.wrap("tenant", b"k" * 32)) == b"k" * 32


async def sign(keys: AzureKeys) -> None:
    assert len((await keys.sign("log", DIGEST)).value) == 64


async def public_key(keys: AzureKeys) -> None:
    assert b"BEGIN PUBLIC KEY" in await keys.public_key("log")


async def rotate(keys: AzureKeys) -> None:
    version = await keys.rotate("log")
    assert (await keys.sign("log", DIGEST)).version == version


async def destroy(keys: AzureKeys) -> None:
    await keys.destroy("log")
    with pytest.raises(NotFound):
        await keys.sign("log", DIGEST)


CALLS = [create, wrap_and_unwrap, sign, public_key, rotate, destroy]


@pytest.fixture
async def ready(keys):
    """The adapter with two keys, and past its first challenge."""
    await keys.create("tenant", "wrap")
    await keys.create("log", "sign")
    return keys


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", CALLS)
async def test_a_call_that_fails_once_succeeds(ready, keys_proxy, operation, fault):
    FAULTS[fault](keys_proxy)
    await operation(ready)
    assert keys_proxy.pending_faults == 0


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize("fault", ["unavailable", "response lost"])
async def test_the_later_requests_of_a_call_may_fail_too(ready, keys_proxy, method, fault):
    if fault == "response lost":
        keys_proxy.lose_answers(method=method)
    else:
        keys_proxy.answer(503, method=method)
    await (sign if method == "POST" else destroy)(ready)
    assert keys_proxy.pending_faults == 0


@pytest.mark.parametrize("operation", CALLS)
async def test_a_vault_that_refuses_connections_for_a_moment(ready, keys_proxy, waits, operation):
    keys_proxy.stop()
    waits.meanwhile = keys_proxy.start
    await operation(ready)
    assert len(waits.seconds) == 1


async def test_the_wait_that_the_vault_asks_for_is_kept(ready, keys_proxy, waits):
    keys_proxy.answer(429, headers={"Retry-After": "7"}, times=2)
    await ready.sign("log", DIGEST)
    assert waits.seconds == [7.0, 7.0]


async def test_a_burst_of_new_tenants_waits_its_turn(keys, keys_proxy, waits, vault):
    """In hardware a vault makes ten keys in ten seconds, and refuses the eleventh."""
    keys_proxy.answer(429, method="POST", headers={"Retry-After": "10"}, times=2)
    await asyncio.gather(*(keys.create(f"tenant-{number}", "wrap") for number in range(12)))
    assert waits.seconds == [10.0, 10.0]
    assert len(vault.keys) == 12


async def test_a_longer_wait_than_a_caller_should_bear_is_passed_on(ready, keys_proxy, waits):
    keys_proxy.answer(429, headers={"Retry-After": "120"})
    with pytest.raises(Unavailable) as refusal:
        await ready.sign("log", DIGEST)
    assert refusal.value.retry_after == 120
    assert waits.seconds == []


async def test_a_vault_that_stays_away_is_given_up_within_the_deadline(ready, keys_proxy, waits):
    keys_proxy.answer(500, times=100)
    with pytest.raises(Unavailable):
        await ready.sign("log", DIGEST)
    assert sum(waits.seconds) <= 30
    assert len(waits.seconds) < 20


async def test_an_identity_that_is_refused_is_not_tried_again(ready, keys_proxy, waits):
    keys_proxy.answer(403, times=1)
    with pytest.raises(Unavailable):
        await ready.public_key("log")
    assert waits.seconds == []


async def test_a_destroyed_key_can_be_recovered_where_the_vault_protects_it(keys, vault):
    vault.purge_protection = True
    await keys.create("tenant", "wrap")
    wrapped = await keys.wrap("tenant", b"k")
    await keys.destroy("tenant")
    with pytest.raises(Conflict):
        await keys.create("tenant", "wrap")
    await keys.recover("tenant")
    assert await keys.unwrap(wrapped) == b"k"


async def test_a_destroyed_key_is_purged_where_the_vault_allows_it(keys, vault):
    await keys.create("tenant", "wrap")
    await keys.destroy("tenant")
    assert vault.keys == {}
    with pytest.raises(NotFound):
        await keys.recover("tenant")


async def test_wrapping_and_unwrapping_cost_one_call_each(keys, vault):
    await keys.create("tenant", "wrap")
    vault.counts.clear()
    wrapped = await keys.wrap("tenant", b"k")
    assert vault.counts == {"get": 1}
    vault.counts.clear()
    await keys.unwrap(wrapped)
    assert vault.counts == {"unwrap": 1}
    await keys.unwrap(wrapped)
    assert vault.counts == {"unwrap": 2}


async def test_keys_are_made_in_hardware(vault, clock):
    """As the app is wired, so that no setting can be forgotten."""
    services = dict.fromkeys(AZURE_SERVICES, "unused") | {"key_vault_url": vault.url}
    settings = Settings(profile="azure", **services)
    adapters = azure_adapters(settings, load_topology(), Runtime(clock, system_entropy))
    await adapters.key_vault.create("tenant", "wrap")
    await adapters.key_vault.create("log", "sign")
    await adapters.key_vault.rotate("tenant")
    assert [key.kind for key in vault.keys.values()] == ["RSA-HSM", "EC-HSM"]
    wrapped = await adapters.key_vault.wrap("tenant", b"k")
    assert await adapters.key_vault.unwrap(wrapped) == b"k"
    await adapters.close()
    await sockets_closed()


async def test_an_environment_can_have_its_keys_made_in_software(vault, clock):
    services = dict.fromkeys(AZURE_SERVICES, "unused") | {"key_vault_url": vault.url}
    settings = Settings(profile="azure", key_protection="software", **services)
    adapters = azure_adapters(settings, load_topology(), Runtime(clock, system_entropy))
    await adapters.key_vault.create("tenant", "wrap")
    await adapters.key_vault.create("log", "sign")
    assert [key.kind for key in vault.keys.values()] == ["RSA", "EC"]
    await adapters.close()
    await sockets_closed()


async def test_a_vault_without_hardware_is_a_fault_of_the_deployment(clients):
    """Not of the caller's data, which the same status means when a key is unwrapped."""
    issued = machine().identity.issued
    vault = Vault(machine().certificate, issued.__contains__, premium=False).start()
    with pytest.raises(InternalError) as refusal:
        await AzureKeys(clients, vault.url).create("tenant", "wrap")
    assert type(refusal.value) is InternalError
    vault.stop()


async def test_a_destruction_that_takes_the_vault_a_while_is_seen_through(ready, keys_proxy, vault):
    vault.slow_deletions = 2
    keys_proxy.answer(503, method="GET")
    await ready.destroy("log")
    assert keys_proxy.pending_faults == 0
    assert "log" not in vault.keys
