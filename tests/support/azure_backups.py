"""Fills the environment that the settings name and makes its sets, or shows what it has.

``python -m tests.support.azure_backups fill``, and then ``show TENANT``: JSON with the tenant and the
SHA-256 of every version of its documents.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.base.buffers import Buffer
from shared.base.partitions import OPERATOR
from shared.documents.models import Description
from shared.documents.reading import content_etag
from shared.wiring.services import Services, get_services

OPERATOR_USER = Principal(OPERATOR, "usr_operator", (Role.OPERATOR,))


async def stream(content: bytes) -> AsyncIterator[Buffer]:
    """Content as it arrives."""
    yield content


async def fill(services: Services) -> str:
    """A tenant with two documents, one of them in two versions, in a set; its id."""
    created = await services.tenants.create(OPERATOR_USER, "alpha", "admin", None)
    user = Principal(created.tenant.id, created.administrator.user.id, (Role.ADMINISTRATOR,))
    description = Description(name="paper.txt")
    documents = [
        await services.documents.create(user, description, stream(os.urandom(size)), None, None)
        for size in (2_000_000, 3_000)
    ]
    first = documents[0]
    etag = content_etag(first.document.id, first.version)
    await services.documents.update(
        user, first.document.id, etag, description, stream(b"second"), None
    )
    assert await services.backups.timer.run() == 2  # the first run takes every tenant
    return user.tenant


async def show(services: Services, tenant: str) -> dict[str, list[str]]:
    """The SHA-256 of every version, oldest first, by document."""
    user = Principal(tenant, "usr_reader", (Role.READER,))
    page = await services.reader.page(user, limit=100, cursor=None)
    found: dict[str, list[str]] = {}
    for each in page.items:
        digests: list[str] = []
        for version in reversed((await services.reader.versions(user, each.document.id)).items):
            content = await services.reader.open(user, version, 0, version.version.size)
            digest = hashlib.sha256()
            async for piece in content:
                digest.update(piece)
            digests.append(digest.hexdigest())
        found[each.document.id] = digests
    return found


async def work(action: str, tenant: str) -> None:
    services = get_services()
    try:
        await services.start()
        if action == "fill":
            tenant = await fill(services)
        found = await show(services, tenant)
    finally:
        await services.close()
    sys.stdout.write(json.dumps({"tenant": tenant, "documents": found}) + "\n")


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], "".join(sys.argv[2:3])))
