"""One of several processes that append to one audit log, in the environment that the settings name.

``python -m tests.support.audit_appender make`` makes a tenant and prints its id.
``… append TENANT SECONDS`` appends, integrates and signs for so long, and prints the ids of the entries
that were acknowledged. ``… show TENANT`` prints what the log then holds: its entries in their order, and
every checkpoint.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from shared.access.permissions import Role
from shared.access.principal import Principal
from shared.base.errors import Unavailable
from shared.base.partitions import OPERATOR, Partition
from shared.journal.entries import Action
from shared.wiring.services import Services, get_services

TOGETHER: Final = 7
"""Entries of one commit."""

LEAST_ROUNDS: Final = 3
"""Each makes a checkpoint, or finds that another process made one: so many differ, however slow it goes."""


async def until_available(work: Callable[[], Awaitable[object]]) -> None:
    """Try again as often as others were faster all the time."""
    while True:
        try:
            await work()
        except Unavailable:
            continue
        return


async def make(services: Services) -> str:
    operator = Principal(OPERATOR, "usr_operator", (Role.OPERATOR,))
    return (await services.tenants.create(operator, "alpha", "admin", None)).tenant.id


async def append(services: Services, tenant: str, seconds: float) -> list[str]:
    partition = Partition(tenant)
    by = Principal(tenant, "usr_appender", (Role.MEMBER,))
    told: list[str] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(told) < LEAST_ROUNDS * TOGETHER:
        entries = [
            services.journal.entry(Action.DOCUMENT_LIST, tenant=tenant, by=by)
            for _ in range(TOGETHER)
        ]
        await services.journal.commit_together(partition, entries, [], [])
        told += [entry.id for entry in entries]
        await until_available(lambda: services.audit.log.append_pending(partition))
        await until_available(lambda: services.audit.checkpoints.publish(tenant))
    return told


async def show(services: Services, tenant: str) -> dict[str, Any]:
    store = services.audit.checkpoints.store
    size = (await services.audit.reader.checkpoint(tenant)).tree.size
    tree = services.audit.reader.tree(tenant, size)
    return {
        "entries": [entry.decode() async for _, entry in tree.entries(0, size)],
        "checkpoints": [
            (await store.read_checkpoint(tenant, size)).decode()
            async for size in store.checkpoint_sizes(tenant)
        ],
    }


async def work(action: str, *arguments: str) -> None:
    services = get_services()
    found: object
    try:
        await services.start()
        if action == "make":
            found = await make(services)
        elif action == "append":
            found = await append(services, arguments[0], float(arguments[1]))
        else:
            found = await show(services, arguments[0])
    finally:
        await services.close()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
