"""Azure Blob as a tenant's target, with signatures that allow less than is needed."""

from __future__ import annotations

import base64

import pytest
from pydantic import SecretStr

from shared.base.errors import Forbidden
from shared.ports.targets import TargetCredentials
from tests.support.contract.targets import container_sas, new_container, opened
from tests.support.emulators.front import ACCOUNT_KEY

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("permission", "step", "detail"),
    [
        ("rdl", "write", "The credentials do not allow to write objects."),
        ("wdl", "read", "The credentials do not allow to read objects."),
        ("rwd", "read", "The credentials do not allow to list objects."),
        ("rwl", "delete", "The credentials do not allow to delete objects."),
    ],
)
async def test_a_probe_names_the_permission_that_a_signature_lacks(permission, step, detail):
    address = new_container()
    async with opened(address, container_sas(address, permission)) as harness:
        last = (await harness.store.probe())[-1]
    assert (last.step, last.ok) == (step, False)
    assert last.detail.startswith(detail)
    async with opened(address, container_sas(address, "rwdl")) as harness:
        left = [info.name async for info in harness.store.list()]
    assert len(left) == (1 if step == "delete" else 0)
    assert all(name in last.detail for name in left)


async def test_a_signature_that_was_changed_and_a_key_of_another_account_are_not_accepted():
    address = new_container()
    token = container_sas(address, "rwdl").sas_token
    assert token is not None
    changed = token.get_secret_value().replace("sp=rwdl", "sp=rwdlacup")
    other = base64.b64encode(bytes(64)).decode()
    for credentials in (
        TargetCredentials(sas_token=SecretStr(changed)),
        TargetCredentials(account_key=SecretStr(other)),
    ):
        async with opened(address, credentials) as harness:
            with pytest.raises(Forbidden):
                await anext(harness.store.list(), None)
            [*_, last] = await harness.store.probe()
        assert (last.step, last.ok) == ("write", False)


async def test_a_container_that_does_not_exist_is_named():
    address = new_container().model_copy(update={"bucket": "no-such-container"})
    credentials = TargetCredentials(account_key=SecretStr(ACCOUNT_KEY))
    async with opened(address, credentials) as harness:
        last = (await harness.store.probe())[-1]
    assert (last.step, last.ok) == ("write", False)
    assert last.detail.startswith("The bucket or container does not exist")
