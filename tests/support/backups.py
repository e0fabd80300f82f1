"""Tenants whose documents are backed up, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.backup.models import Manifest
from shared.restore.jobs import RestoreJob
from shared.restore.service import RestoreRequest
from shared.wiring.backups import Backups
from standalone.demo.objects import stored_objects
from tests.support.app import App, open_app


@dataclass
class BackedUp:
    """An app with one tenant.

    Attributes:
        app: The app.
        tenant: The tenant.
        auth: The header of its administrator.
    """

    app: App
    tenant: str
    auth: dict[str, str]

    @property
    def backups(self) -> Backups:
        """The services of backups."""
        return self.app.services.backups

    async def upload(self, content: bytes, name: str = "paper.txt") -> str:
        """A new document; its id."""
        answer = await self.app.upload(self.auth, content, name)
        assert answer.status_code == 201, answer.text
        document: str = answer.json()["id"]
        return document

    async def update(self, document: str, content: bytes) -> None:
        """A new version of a document."""
        etag = (await self.app.http.get(f"documents/{document}", headers=self.auth)).json()["etag"]
        headers = {"If-Match": etag, "Content-Disposition": 'attachment; filename="paper.txt"'}
        path = f"documents/{document}/content"
        answer = await self.app.http.put(path, content=content, headers=self.auth | headers)
        assert answer.status_code == 200, answer.text

    async def content(self, document: str, number: int | None = None) -> bytes:
        """The content of a version, as a client gets it."""
        query = "" if number is None else f"?version={number}"
        path = f"documents/{document}/content{query}"
        answer = await self.app.http.get(path, headers=self.auth)
        assert answer.status_code == 200, answer.text
        return answer.content

    async def documents(self) -> dict[str, tuple[str, list[bytes]]]:
        """The name and the contents of every document, oldest version first, by id."""
        found: dict[str, tuple[str, list[bytes]]] = {}
        listed = await self.app.http.get("documents?limit=100", headers=self.auth)
        assert listed.status_code == 200, listed.text
        for item in listed.json()["items"]:
            versions = range(1, item["version"] + 1)
            contents = [await self.content(item["id"], number) for number in versions]
            found[item["id"]] = (item["name"], contents)
        return found

    async def restore(self, **request: Any) -> RestoreJob:
        """Plan a restore of the tenant, start it, and let the timer finish it."""
        restores = self.backups.restores
        principal = Principal(self.tenant, "usr_administrator", (Role.ADMINISTRATOR,))
        self.app.clock.advance(1)
        planned = await restores.plan(principal, RestoreRequest(**request))
        await restores.start(principal, planned.id)
        await self.backups.restore_timer.run()
        await self.app.settle()
        return await restores.read(principal, planned.id)

    async def erase(self, document: str) -> None:
        """Erase a document now."""
        path = f"documents/{document}?erase=true"
        answer = await self.app.http.delete(path, headers=self.auth)
        assert answer.status_code == 200, answer.text
        await self.app.settle()

    async def back_up(self) -> int:
        """Let the functions and the timers run until what was committed is in a set; sets made."""
        await self.app.settle()
        self.app.clock.advance(240)
        await self.app.services.outbox.relay()
        return await self.backups.timer.run()

    async def sets(self, tenant: str | None = None) -> list[Manifest]:
        """The sets of the tenant, or of another one, oldest first."""
        tenant = tenant or self.tenant
        store = self.backups.reader.store
        names = [info.name.rpartition("/")[2] async for info in store.list(f"{tenant}/sets/")]
        return [await self.backups.reader.manifests.read(tenant, name) for name in names]

    async def newest(self) -> Manifest:
        """The tenant's newest set."""
        return (await self.sets())[-1]


@asynccontextmanager
async def open_backed_up(data: Path, **settings: Any) -> AsyncIterator[BackedUp]:
    """An app with one tenant, ``alpha``, on a new data folder."""
    async with open_app(data, **settings) as app:
        tenant = await app.tenant("alpha")
        yield BackedUp(app, tenant, await app.auth(tenant))


def lose(data: Path, *, records: bool = True) -> None:
    """Destroy what a data folder holds, but for the key vault and the backups.

    Args:
        data: The folder.
        records: No server runs on it, and the databases go as well; otherwise the objects alone.
    """
    for store in ("primary", "replica", "staging"):
        for stored in stored_objects(data / store):
            stored.unlink()
        if records:
            for path in (data / store).rglob("*"):
                if path.is_file():
                    path.unlink()
    if records:
        for path in [*data.glob("records.db*"), *data.glob("bus.db*")]:
            path.unlink()
