"""Whatever code an employee without a grant reaches: the gate before the keys opens nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Request

from functions.api.dependencies import services_of
from functions.api.guard import GuardedRoute, requires
from shared.access.permissions import Permission, Role
from shared.access.principal import Principal
from shared.base.errors import Forbidden
from shared.base.partitions import MAIN, OPERATOR, Partition, partition_of
from shared.journal.entries import Action, Entry
from shared.keys.gate import act_as, as_the_service
from shared.keys.models import epochs_of, intermediate_keys_of
from shared.keys.names import tenant_key_name
from shared.ports.keys import WrappedKey
from shared.restore.service import RestoreRequest
from tests.support.app import TARGET, App, Opened, problem
from tests.support.webhooks import WEBHOOK

pytestmark = pytest.mark.anyio

CONTENT = b"what nobody else may see"
NAME = "secret name.txt"


class Data:
    """What a tenant has, and an employee who acts as one of its administrators by mistake."""

    def __init__(self, app: App, tenant: str, document: str, made: str) -> None:
        self.app = app
        self.services = app.services
        self.tenant = tenant
        self.document = document
        self.set = made
        self.insider = Principal(tenant, "usr_" + "0" * 26, (Role.ADMINISTRATOR,))


@pytest.fixture(params=["cold", "warm"])
async def data(opened: Opened, alpha: str, request: pytest.FixtureRequest) -> AsyncIterator[Data]:
    """Where no key is in memory, and where all are."""
    async with opened() as app:
        auth = await app.auth(alpha)
        document = (await app.upload(auth, CONTENT, NAME)).json()["id"]
        for path, body in (("targets", TARGET), ("webhooks", WEBHOOK)):
            assert (await app.http.post(path, json=body, headers=auth)).status_code == 201
        await app.settle()
        app.clock.advance(240)
        await app.services.outbox.relay()
        await app.services.backups.timer.run()
        await app.settle()
        made = await app.services.backups.reader.newest(alpha)
    async with opened() as app:
        found = Data(app, alpha, document, made)
        if request.param == "warm":
            for attempt in ATTEMPTS.values():
                await attempt(found)
        yield found


async def read_description(data: Data) -> Any:
    return await data.services.reader.find(data.insider, data.document)


async def list_documents(data: Data) -> Any:
    return await data.services.reader.page(data.insider, limit=5, cursor=None)


async def open_content(data: Data) -> Any:
    with as_the_service():
        found = await data.services.reader.find(data.insider, data.document)
    return await data.services.reader.open(data.insider, found, 0, len(CONTENT))


async def list_versions(data: Data) -> Any:
    return await data.services.reader.versions(data.insider, data.document)


async def read_targets(data: Data) -> Any:
    return await data.services.targets.all(data.insider)


async def read_webhooks(data: Data) -> Any:
    return await data.services.webhooks.webhooks.all(data.insider)


async def open_personal_data_of_the_log(data: Data) -> Any:
    sealer = data.services.audit.log.sealer
    with as_the_service():
        entry = data.services.journal.entry(Action.POLICY_READ, by=data.insider)
        made = entry.model_dump(mode="json") | {"address": "203.0.113.9"}
        [sealed] = await sealer.seal(data.tenant, [made])
    return await sealer.open(data.tenant, [Entry.model_validate(sealed)])


async def read_a_backup(data: Data) -> Any:
    snapshot = await data.services.backups.snapshots.open(data.tenant, data.set)
    return await snapshot.part(partition_of(data.tenant, data.document).part)


async def take_an_epoch_key(data: Data) -> Any:
    epochs = data.services.documents.sealer.epochs
    page = await epochs_of(epochs.records).page(Partition(data.tenant), limit=1)
    return await epochs.of(data.tenant, page.items[0].value.id)


async def take_an_intermediate_key(data: Data) -> Any:
    epochs = data.services.documents.sealer.epochs
    page = await intermediate_keys_of(epochs.records).page(Partition(data.tenant), limit=1)
    return await epochs.intermediates.of(data.tenant, page.items[0].value.id)


async def ask_the_key_vault(data: Data) -> Any:
    epochs = data.services.documents.sealer.epochs
    page = await intermediate_keys_of(epochs.records).page(Partition(data.tenant, MAIN), limit=1)
    kept, name = page.items[0].value, tenant_key_name(data.tenant)
    wrapped = WrappedKey(name, kept.key_version, kept.wrapped_key)
    return await data.services.adapters.key_vault.unwrap(wrapped)


ATTEMPTS: dict[str, Callable[[Data], Awaitable[Any]]] = {
    attempt.__name__: attempt
    for attempt in (
        *(read_description, list_documents, open_content, list_versions),
        *(read_targets, read_webhooks, open_personal_data_of_the_log, read_a_backup),
        *(take_an_epoch_key, take_an_intermediate_key, ask_the_key_vault),
    )
}


@pytest.mark.parametrize("name", ATTEMPTS)
async def test_an_employee_without_a_grant_gets_at_nothing(data: Data, name: str) -> None:
    with as_the_service():
        act_as((await data.app.found(OPERATOR, "operator")).value.id)
        with pytest.raises(Forbidden):
            await ATTEMPTS[name](data)
    await ATTEMPTS[name](data)  # and it would work


async def test_a_route_with_a_defect_opens_nothing(data: Data) -> None:
    router = APIRouter(prefix="/api/v1/defects", route_class=GuardedRoute)

    @router.get("/names")
    @requires(Permission.TENANTS_READ)
    async def list_names_of_anybody(request: Request) -> list[str]:
        page = await services_of(request).reader.page(data.insider, limit=5, cursor=None)
        return [found.names.name for found in page.items]

    data.app.apps[0].include_router(router)
    for role in (Role.OPERATOR, Role.SUPPORT, Role.OFFICER):
        headers = await data.app.auth(OPERATOR, role.value)
        answer = await data.app.http.get("defects/names", headers=headers)
        assert (answer.status_code, problem(answer)) == (403, "forbidden"), role
        assert NAME not in answer.text
    refused = [
        body["entry"]
        for body in await data.app.entries(OPERATOR)
        if "/defects/names" in body["entry"]["details"].get("route", "")
    ]
    assert [entry["reason"] for entry in refused] == ["forbidden"] * 3


async def test_an_operator_does_without_keys_what_operators_are_for(data: Data) -> None:
    """Numbers alone: each of these meets the tenant's keys, or would in a process that has none."""
    app = data.app
    headers = await app.auth(OPERATOR, "operator")

    async def ask(method: str, path: str, status: int, **more: Any) -> httpx.Response:
        answer = await app.http.request(method, path, headers=headers, **more)
        assert answer.status_code == status, (path, answer.text)
        assert NAME not in answer.text
        return answer

    of = {"params": {"tenant": data.tenant}}
    await ask("GET", "backups", 200, **of)
    await ask("GET", f"backups/{data.set}", 200, **of)
    for wanted in ({}, {"document": data.document}):
        body = {"tenant": data.tenant, "set": data.set, **wanted}
        planned = await ask("POST", "restores", 201, json=body)
        await ask("GET", f"restores/{planned.json()['id']}", 200)
    await ask("POST", f"tenants/{data.tenant}/key-rotation", 202)
    await ask("POST", "backups/verifications", 202, json={})
    await ask("GET", "backups/report", 200)


async def test_a_plan_of_an_employee_leaves_the_gate_shut(data: Data) -> None:
    with as_the_service():
        act_as("usr_" + "1" * 26)
        employee = Principal(OPERATOR, "usr_" + "1" * 26, (Role.OPERATOR,))
        request = RestoreRequest(tenant=data.tenant, document=data.document)
        await data.services.backups.restores.plan(employee, request)
        with pytest.raises(Forbidden):
            await read_description(data)
