"""A whole Strongroom in one process, on embedded parts and a clock of the test's own."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from functions.api.app import create_api
from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.adapters.memory.collectors import MemoryCollectors
from shared.adapters.memory.posting import MemoryPoster
from shared.adapters.memory.targets import MemoryTargets
from shared.base.events import Event
from shared.base.partitions import OPERATOR
from shared.base.topology import load_topology
from shared.documents.models import Version
from shared.handlers import ENCRYPTION
from shared.identity.models import User
from shared.journal.collections import Stored
from shared.ports.clock import Runtime
from shared.wiring.adapters import Adapters
from shared.wiring.services import Services, build, profile_adapters
from shared.wiring.settings import Settings
from standalone.demo.objects import StoredObject, stored_objects
from standalone.staged import create_staged
from tests.support.clock import FakeClock
from tests.support.records import find_entries
from tests.support.topology import SUBSCRIPTIONS

BOOTSTRAP_SECRET = "the secret of the first start"
PASSWORD = "correct horse battery staple"
BASE_URL = "http://app.test"

POLICY: dict[str, Any] = {
    "trash_days": 7,
    "retention": {"hourly": 48, "daily": 14, "monthly": 6, "yearly": 3},
    "verification_days": 10,
    "legal_hold": False,
    "staff_access": "approval",
}
"""A valid policy, and not the default one."""

TARGET: dict[str, Any] = {
    "name": "Our own storage",
    "address": {"kind": "s3", "bucket": "copies", "region": "eu-west-1"},
    "credentials": {"access_key_id": "AKIAIOSFODNN7", "secret_access_key": "a secret access key"},
}
"""A valid target."""


def grant_request(tenant: str, *documents: str) -> dict[str, Any]:
    """A valid request for a grant, for the content of some documents."""
    return {
        "tenant": tenant,
        "case": {"system": "tickets", "id": "4711"},
        "reason": "customer-initiated",
        "text": "The customer cannot open this document.",
        "scope": {"depth": "content", "documents": list(documents)},
        "seconds": 3_600,
    }


@dataclass
class App:
    """Everything that a test needs to play a story.

    Attributes:
        services: The services.
        clock: Their clock.
        http: A client of the API and of the staged app.
        data: The data folder.
        apps: The API and the staged app.
        targets: External storage of the tenants, in memory.
        collectors: Of their webhooks, in memory.
        poster: Reaches witnesses and time stamp authorities of the test.
        slugs: Of the tenants, by id.
    """

    services: Services
    clock: FakeClock
    http: httpx.AsyncClient
    data: Path
    apps: tuple[FastAPI, FastAPI]
    targets: MemoryTargets
    collectors: MemoryCollectors
    poster: MemoryPoster
    slugs: dict[str, str] = field(default_factory=dict)

    async def tenant(self, slug: str) -> str:
        """A tenant with an administrator; its id."""
        operator = Principal(OPERATOR, "usr_operator", (Role.OPERATOR,))
        created = await self.services.tenants.create(operator, slug, "admin", None)
        self.slugs[created.tenant.id] = slug
        await self._choose_password(slug, "admin", created.administrator.password)
        return created.tenant.id

    async def user(self, tenant: str, username: str, *roles: Role) -> str:
        """A person with a password of their own; their id."""
        administrator = Principal(tenant, "usr_administrator", (Role.ADMINISTRATOR,))
        temporary = await self.services.accounts.create(administrator, username, roles, None)
        await self._choose_password(self.slugs.get(tenant, tenant), username, temporary.password)
        return temporary.user.id

    async def found(self, tenant: str, username: str) -> Stored[User]:
        """A user who exists, by their username."""
        stored = await self.services.accounts.find(tenant, username)
        assert stored is not None, username
        return stored

    async def token(self, tenant: str, username: str = "admin") -> str:
        """A token, got without paying for Argon2."""
        user = (await self.found(tenant, username)).value
        return (await self.services.tokens.issue(user)).token

    async def auth(self, tenant: str, username: str = "admin") -> dict[str, str]:
        """The header that carries a token."""
        return {"Authorization": f"Bearer {await self.token(tenant, username)}"}

    async def upload(
        self, auth: dict[str, str], content: bytes, name: str = "paper.txt", **headers: str
    ) -> httpx.Response:
        """A direct upload."""
        return await self.http.post(
            "documents",
            content=content,
            headers=auth
            | {
                "Content-Disposition": f'attachment; filename="{name}"',
                "Content-Type": "text/plain",
            }
            | headers,
        )

    async def etag(self, auth: dict[str, str], document: str) -> str:
        """The entity tag of a document's current version, in quotes."""
        return str((await self.http.get(f"documents/{document}", headers=auth)).json()["etag"])

    async def grant(
        self,
        tenant: str,
        *documents: str,
        requester: str = "support",
        approver: str = "operator",
        **changes: Any,
    ) -> str:
        """A live grant, asked for by one employee and approved by another; its id."""
        asked = await self.http.post(
            "staff-grants",
            json=grant_request(tenant, *documents) | changes,
            headers=await self.auth(OPERATOR, requester),
        )
        assert asked.status_code == 201, asked.text
        grant = str(asked.json()["id"])
        approved = await self.http.post(
            f"staff-grants/{grant}/approve", headers=await self.auth(OPERATOR, approver)
        )
        assert approved.json()["state"] == "live", approved.text
        return grant

    async def erase(self, auth: dict[str, str], document: str) -> None:
        """Erase a document, as an administrator can."""
        answer = await self.http.delete(f"documents/{document}?erase=true", headers=auth)
        assert (answer.status_code, answer.json()["outcome"]) == (200, "erased"), answer.text

    async def entries(self, tenant: str, resource: str | None = None) -> list[dict[str, Any]]:
        """The tenant's audit entries with their positions, oldest first; None while one waits."""
        found = find_entries(self.data, tenant)
        return [each for each in found if resource in {None, each["entry"]["resource"]}]

    async def actions(self, tenant: str, resource: str | None = None) -> list[str]:
        """What was done, oldest first."""
        return [body["entry"]["action"] for body in await self.entries(tenant, resource)]

    async def version(self, tenant: str, document: str, number: int | None = None) -> Version:
        """A version as the record holds it."""
        store = self.services.reader.store
        return (await store.version(await store.document(tenant, document), number)).version

    async def seal(self, event: Event) -> None:
        """Hand an event to the encryption function's handler."""
        await self.services.handlers.handle(ENCRYPTION, event.to_json())

    def object(self, store: str, name: str | None) -> StoredObject:
        """An object, behind the server's back."""
        assert name is not None
        return StoredObject(self.data / store, name)

    async def settle(self) -> None:
        """Let every event take effect, as the functions do."""
        source = self.services.adapters.source
        busy = True
        while busy:
            busy = False
            await self.services.outbox.close()
            for subscription in SUBSCRIPTIONS:
                # Of sessions, one message comes at a time, and to find nothing takes longest.
                while deliveries := await source.receive(subscription, limit=50):
                    busy = True
                    for delivery in deliveries:
                        await self.services.handlers.handle(subscription, delivery.body)
                        await source.complete(delivery)

    def stored(self, store: str) -> list[StoredObject]:
        """The objects of a blob store."""
        return list(stored_objects(self.data / store))

    async def _choose_password(self, slug: str, username: str, temporary: str | None) -> None:
        assert temporary is not None
        answer = await self.http.post(
            "auth/sign-in",
            json={
                "tenant": slug,
                "username": username,
                "password": temporary,
                "new_password": PASSWORD,
            },
        )
        assert answer.status_code == 200, answer.text


@asynccontextmanager
async def open_app(
    data: Path,
    clock: FakeClock | None = None,
    make_adapters: Callable[[Settings], Adapters] | None = None,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    **settings: Any,
) -> AsyncIterator[App]:
    """Build an app on a data folder, and close it.

    Args:
        data: The data folder.
        clock: The time that the test owns.
        make_adapters: To use in place of the embedded ones.
        sleep: How the services wait.
        settings: Of the app.
    """
    clock = clock or FakeClock()
    sha256_of_secret = hashlib.sha256(BOOTSTRAP_SECRET.encode()).hexdigest()
    configured = Settings(
        data_dir=data,
        public_base_url=BASE_URL,
        staged_public_base_url=f"{BASE_URL}/staged",
        **{"bootstrap_secret_sha256": sha256_of_secret} | settings,
    )
    runtime = Runtime(clock, os.urandom, sleep)
    adapters = (
        make_adapters(configured)
        if make_adapters
        else profile_adapters(configured, load_topology(), runtime)
    )
    # No test asks another machine for anything.
    targets = MemoryTargets(runtime)
    collectors = MemoryCollectors()
    poster = MemoryPoster()
    adapters = replace(adapters, targets=targets, collectors=collectors, poster=poster)
    services = build(configured, clock, os.urandom, adapters)
    api = create_api(services)
    staged = create_staged(services, api.state.limits)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (staged if scope["path"].startswith("/staged/") else api)(scope, receive, send)

    transport = httpx.ASGITransport(app=app, client=("203.0.113.7", 50_000))
    async with httpx.AsyncClient(transport=transport, base_url=f"{BASE_URL}/api/v1/") as http:
        try:
            yield App(services, clock, http, data, (api, staged), targets, collectors, poster)
        finally:
            await services.close()


Opened = Callable[..., AbstractAsyncContextManager[App]]


@dataclass(frozen=True)
class SeededApp:
    """A data folder to copy: making keys and passwords anew for every test would take minutes."""

    data: Path
    alpha: str
    beta: str

    @asynccontextmanager
    async def opened(self, data: Path, **settings: Any) -> AsyncIterator[App]:
        """The seeded app, copied to a folder unless it is there."""
        if not data.exists():
            shutil.copytree(self.data, data)
        async with open_app(data, **settings) as app:
            app.slugs |= {self.alpha: "alpha", self.beta: "beta"}
            yield app


def problem(answer: httpx.Response) -> str:
    """The slug of a problem+json answer."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = json.loads(answer.content)
    assert body["status"] == answer.status_code
    assert body["title"]
    assert body["detail"]
    assert body["instance"].startswith("urn:strongroom:trace:")
    assert body["request"] == answer.headers["request-id"]
    return str(body["type"]).removeprefix("urn:strongroom:problem:")
