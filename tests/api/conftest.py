"""A seeded app for every test: two tenants and the operator, with a person of each role."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from shared.access.permissions import STAFF_ROLES, Role
from shared.access.principal import Principal
from shared.audit.signing import WRAPPING_KEY
from shared.base.partitions import OPERATOR
from tests.support.app import App, Opened, SeededApp, open_app


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """One event loop for all, so that a module can share a app."""
    return "asyncio"


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> SeededApp:
    data = tmp_path_factory.mktemp("seeded")

    async def furnish() -> SeededApp:
        async with open_app(data) as app:
            tenants = [await app.tenant(slug) for slug in ("alpha", "beta")]
            for tenant in (*tenants, OPERATOR):
                administrator = Principal(tenant, "usr_furnisher", ())
                roles = STAFF_ROLES if tenant == OPERATOR else {Role.MEMBER, Role.READER}
                for role in sorted(roles):
                    # With a temporary password: one that is chosen takes two more hashes.
                    await app.services.accounts.create(administrator, role.value, (role,), None)
            # Making a key takes a second, and each test would make these.
            key_vault = app.services.adapters.key_vault
            await key_vault.create(OPERATOR, "wrap")
            await key_vault.create(WRAPPING_KEY, "wrap")
            await app.settle()
            return SeededApp(data, *tenants)

    return anyio.run(furnish)


@pytest.fixture
def opened(seeded: SeededApp, tmp_path: Path) -> Opened:
    """Opens the seeded app, under settings that a test may change; twice is a restart."""
    return partial(seeded.opened, tmp_path / "data")


@pytest.fixture
async def app(opened: Opened) -> AsyncIterator[App]:
    """The seeded app."""
    async with opened() as app:
        yield app


@pytest.fixture
def alpha(seeded: SeededApp) -> str:
    """The tenant whose documents a test is about."""
    return seeded.alpha


@pytest.fixture
def beta(seeded: SeededApp) -> str:
    """Another tenant."""
    return seeded.beta


@pytest.fixture
async def auth(app: App, alpha: str) -> dict[str, str]:
    """The header of alpha's administrator."""
    return await app.auth(alpha)
