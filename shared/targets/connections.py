"""Connections to targets: opened from the sealed configuration, and checked to lead to the right place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from shared.base.buffers import Buffer
from shared.base.errors import InvalidInput, NotFound, StrongroomError
from shared.ports.blobs import BlobInfo
from shared.ports.targets import ProbeResult, TargetConnector, TargetStore
from shared.targets.configurations import TargetConfigurations
from shared.targets.errors import TargetChangedError, TargetFailedError
from shared.targets.format import MANIFEST_NAME, TargetManifest
from shared.targets.models import TargetConfiguration

MAX_MANIFEST_BYTES: Final = 65_536


class BlamedStore:
    """A ``TargetStore`` whose errors come as ``TargetFailedError``; that there is no such object does not.

    Args:
        store: The target.
    """

    def __init__(self, store: TargetStore) -> None:
        self._store = store

    async def put(self, name: str, content: AsyncIterator[Buffer], size: int) -> None:
        """See ``TargetStore.put``."""
        with _blamed():
            await self._store.put(name, content, size)

    async def get(
        self, name: str, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """See ``TargetStore.get``."""
        with _blamed():
            async for piece in self._store.get(name, start=start, end=end):
                yield piece

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """See ``TargetStore.list``."""
        with _blamed():
            async for info in self._store.list(prefix):
                yield info

    async def delete(self, name: str) -> None:
        """See ``TargetStore.delete``."""
        with _blamed():
            await self._store.delete(name)

    async def probe(self) -> Sequence[ProbeResult]:
        """See ``TargetStore.probe``."""
        with _blamed():
            return await self._store.probe()

    async def close(self) -> None:
        """See ``TargetStore.close``."""
        await self._store.close()


@contextmanager
def _blamed() -> Iterator[None]:
    try:
        yield
    except NotFound:
        raise
    except StrongroomError as error:
        raise TargetFailedError(error) from error


@dataclass(slots=True)
class TargetConnections:
    """Connects to targets.

    Attributes:
        connector: Opens them.
        configurations: Opens their configurations.
    """

    connector: TargetConnector
    configurations: TargetConfigurations

    @asynccontextmanager
    async def opened(
        self, tenant: str, configuration: TargetConfiguration, bytes_per_second: int = 0
    ) -> AsyncIterator[BlamedStore]:
        """A target, not yet connected to.

        Raises:
            InvalidInput: The address or the credentials cannot be those of a target.
        """
        store = self._open(tenant, configuration, bytes_per_second)
        try:
            yield BlamedStore(store)
        finally:
            await store.close()

    @asynccontextmanager
    async def connected(
        self, tenant: str, configuration: TargetConfiguration, bytes_per_second: int
    ) -> AsyncIterator[BlamedStore]:
        """A target that was found to hold what it has to: its own ``strongroom.json``.

        Raises:
            TargetFailedError: The target fails, or there is another ``strongroom.json``, or none.
        """
        try:
            store = self._open(tenant, configuration, bytes_per_second)
        except InvalidInput as error:  # the operator's settings allow such a target no more
            raise TargetFailedError(error) from error
        try:
            blamed = BlamedStore(store)
            await self.check(tenant, configuration, blamed)
            yield blamed
        finally:
            await store.close()

    async def check(
        self, tenant: str, configuration: TargetConfiguration, store: TargetStore
    ) -> None:
        """Make sure that a target holds its own ``strongroom.json``.

        Raises:
            TargetFailedError: It fails, or there is another one, or none.
        """
        expected = configuration.manifest(self.configurations.sealer.environment, tenant)
        if await self.manifest(store) != expected:
            raise TargetFailedError(
                TargetChangedError(
                    "Its strongroom.json is missing or not the one that was written there;"
                    " create a target with another prefix, and delete this one."
                )
            )

    async def manifest(self, store: TargetStore) -> TargetManifest | None:
        """The ``strongroom.json`` of a target; None where there is none that can be read.

        Raises:
            TargetFailedError: The target fails.
        """
        content = bytearray()
        try:
            async for piece in store.get(MANIFEST_NAME, end=MAX_MANIFEST_BYTES):
                content += piece
            return TargetManifest.model_validate_json(content)
        except (NotFound, ValidationError):
            return None

    def _open(
        self, tenant: str, configuration: TargetConfiguration, bytes_per_second: int
    ) -> TargetStore:
        return self.connector.open(
            tenant,
            configuration.address,
            configuration.credentials,
            bytes_per_second=bytes_per_second,
        )
