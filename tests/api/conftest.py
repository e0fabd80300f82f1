"""A furnished house for every test: two tenants and the operator, with a person of each role."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from shared.access.permissions import STAFF_ROLES, Role
from shared.access.principal import Principal
from shared.ports.records import DIRECTORY
from tests.house import House, open_house

Opened = Callable[..., AbstractAsyncContextManager[House]]


@dataclass(frozen=True)
class Furnished:
    """A data folder to copy: making keys and passwords anew for every test would take minutes."""

    data: Path
    alpha: str
    beta: str

    @asynccontextmanager
    async def opened(self, data: Path, **settings: Any) -> AsyncIterator[House]:
        """The furnished house, copied to a folder unless it is there."""
        if not data.exists():
            shutil.copytree(self.data, data)
        async with open_house(data, **settings) as house:
            house.slugs |= {self.alpha: "alpha", self.beta: "beta"}
            yield house


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """One event loop for all, so that a module can share a house."""
    return "asyncio"


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Furnished:
    data = tmp_path_factory.mktemp("furnished")

    async def furnish() -> Furnished:
        async with open_house(data) as house:
            tenants = [await house.tenant(slug) for slug in ("alpha", "beta")]
            for tenant in (*tenants, DIRECTORY):
                administrator = Principal(tenant, "usr_furnisher", ())
                roles = STAFF_ROLES if tenant == DIRECTORY else {Role.MEMBER, Role.READER}
                for role in sorted(roles):
                    # With a temporary password: one that is chosen takes two more hashes.
                    await house.services.accounts.create(administrator, role.value, (role,), None)
            await house.settle()
            return Furnished(data, *tenants)

    return anyio.run(furnish)


@pytest.fixture
def opened(furnished: Furnished, tmp_path: Path) -> Opened:
    """Opens the furnished house, under settings that a test may change; twice is a restart."""
    return partial(furnished.opened, tmp_path / "data")


@pytest.fixture
async def house(opened: Opened) -> AsyncIterator[House]:
    """The furnished house."""
    async with opened() as house:
        yield house


@pytest.fixture
def alpha(furnished: Furnished) -> str:
    """The tenant whose documents a test is about."""
    return furnished.alpha


@pytest.fixture
def beta(furnished: Furnished) -> str:
    """Another tenant."""
    return furnished.beta


@pytest.fixture
async def auth(house: House, alpha: str) -> dict[str, str]:
    """The header of alpha's administrator."""
    return await house.auth(alpha)
