"""A tenant with documents in every form of backup, to be harmed and verified."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.backup.models import PartIndex, object_name, version_id
from shared.backup.state import Location, locations_of
from shared.base.partitions import Partition, partition_of
from shared.documents.models import Place, Version
from shared.verification.findings import Verification, verifications_of
from standalone.demo.objects import StoredObject
from tests.support.app import open_app
from tests.support.backups import BackedUp
from tests.support.clock import FakeClock

SEEDED_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
SMALL = 12
"""Documents with one small version."""

LARGE = bytes(range(256)) * 6_000
"""A content of two segments, which a pack takes as a stream."""


@dataclass(frozen=True)
class Seed:
    """A data folder with a tenant whose documents are in sets.

    Attributes:
        data: The folder.
        tenant: The tenant.
        documents: Its documents: small ones, one with three versions, a large one.
        erased: A document that was erased after it was in a set.
    """

    data: Path
    tenant: str
    documents: list[str] = field(default_factory=list)
    erased: str = ""

    @property
    def many(self) -> str:
        """The document with three versions."""
        return self.documents[SMALL]

    @property
    def large(self) -> str:
        """The document with a large content."""
        return self.documents[SMALL + 1]


async def plant(data: Path) -> Seed:
    """Make the data folder."""
    async with open_app(data) as app:
        tenant = await app.tenant("alpha")
        seed = BackedUp(app, tenant, await app.auth(tenant))
        documents = [await seed.upload(b"content %d" % number) for number in range(SMALL)]
        many = await seed.upload(b"first")
        erased = await seed.upload(b"what is to be forgotten")
        await seed.back_up()
        await seed.update(many, b"second")
        await seed.update(many, b"third")
        large = await seed.upload(LARGE)
        await seed.erase(erased)
        await seed.back_up()
        app.clock.advance(3_600)
        seed.auth = await app.auth(tenant)
        await seed.upload(b"the last")
        await seed.back_up()
        await seed.back_up()
        # The timer's own first verification, so that the next one is days away.
        await seed.backups.verifications.start(_administrator(tenant), None)
        assert await seed.backups.verifications.run() == 2
        return Seed(data, tenant, [*documents, many, large], erased)


@dataclass
class Verified(BackedUp):
    """An app on a copy of the seed.

    Attributes:
        seed: What is there.
    """

    seed: Seed

    @property
    def principal(self) -> Principal:
        """The tenant's administrator."""
        return _administrator(self.tenant)

    async def start(self, set: str | None = None) -> str:
        """Ask for a verification; its id."""
        self.app.clock.advance(1)
        return (await self.backups.verifications.start(self.principal, set)).id

    async def state(self, verification: str) -> Verification:
        """A verification as it is kept."""
        kept = verifications_of(self.app.services.adapters.records)
        return (await kept.get(Partition(self.tenant), verification)).value

    async def verify(self, set: str | None = None) -> Verification:
        """Verify everything, or one set, in one run."""
        verification = await self.start(set)
        await self.backups.verifications.run(seconds=86_400)
        found = await self.state(verification)
        assert found.state == "done"
        return found

    async def found(self, set: str | None = None) -> list[tuple[str, str]]:
        """The kinds and the objects of what verifying finds."""
        findings = (await self.verify(set)).findings
        return sorted((each.kind, each.object) for each in findings)

    def file(self, folder: str, id: str) -> StoredObject:
        """An object of the backup."""
        return self.app.object("backup/sets", object_name(self.tenant, folder, id))

    def page_files(self, page: str) -> list[Path]:
        """The files of a key page, one a revision."""
        folder, _, name = page.partition("/")
        return sorted((self.app.data / "backup/keys" / self.tenant / folder).glob(f"{name}.*"))

    async def index(self, part: str) -> PartIndex:
        """What the newest set has of a partition."""
        manifest = await self.newest()
        ref = manifest.part(part)
        assert ref is not None
        return await self.backups.reader.index(self.tenant, ref)

    def partition(self, document: str) -> Partition:
        """Of a document."""
        return partition_of(self.tenant, document)

    async def location(self, document: str, number: int = 1) -> Location:
        """Where the backup has a version."""
        locations = locations_of(self.app.services.adapters.records)
        name = version_id(document, number)
        return (await locations.get(self.partition(document), name)).value

    async def version_of(self, document: str, number: int | None = None) -> Version:
        """A version as its record has it."""
        return await self.app.version(self.tenant, document, number)

    async def copy(self, place: Place, document: str, number: int | None = None) -> StoredObject:
        """A copy of a version."""
        return self.app.object(place, (await self.version_of(document, number)).at(place))

    async def logged(self, action: str) -> list[dict[str, Any]]:
        """The tenant's audit entries of an action."""
        entries = [each["entry"] for each in await self.app.entries(self.tenant)]
        return [entry for entry in entries if entry["action"] == action]


@asynccontextmanager
async def open_copy(
    seed: Seed, data: Path, clock: FakeClock | None = None
) -> AsyncIterator[Verified]:
    """Open a copy of the seed, or what a process that ended has left of one."""
    if not data.exists():
        shutil.copytree(seed.data, data)
    async with open_app(data, clock or FakeClock(SEEDED_AT)) as app:
        yield Verified(app, seed.tenant, await app.auth(seed.tenant), seed)


def change_page(path: Path, change: Any) -> None:
    """Change what a key page holds."""
    page = json.loads(path.read_bytes())
    change(page["versions"])
    path.write_text(json.dumps(page))


def _administrator(tenant: str) -> Principal:
    return Principal(tenant, "usr_administrator", (Role.ADMINISTRATOR,))
