"""MemoryTargets: targets in dictionaries, which tests can make fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from shared.adapters.checks import check_blob_name, check_blob_prefix, check_range
from shared.adapters.external.dialing import Dialer
from shared.adapters.external.endpoints import check_address, check_credentials, endpoint_of
from shared.adapters.external.feeding import Feed
from shared.adapters.external.pacing import Pacer
from shared.base.buffers import Buffer
from shared.base.errors import NotFound, StrongroomError
from shared.ports.blobs import BlobInfo
from shared.ports.clock import Runtime
from shared.ports.targets import (
    ProbeResult,
    ProbeStep,
    TargetAddress,
    TargetCredentials,
)

_PIECE: Final = 1_048_576
_OBJECTS: Final[Sequence[ProbeStep]] = ("write", "read", "delete")
_NETWORK: Final[Sequence[ProbeStep]] = ("resolve", "connect", "tls")


@dataclass(slots=True)
class MemoryTarget:
    """A ``TargetStore`` whose objects are gone with its connector.

    Attributes:
        objects: By their names, prefix included; shared by all targets of one bucket.
        prefix: What the names begin with.
        pacer: Limits the bandwidth.
        runtime: Dates the objects.
        outages: By step of a probe, what operations that need the step raise.
        steps: What a probe tries.
    """

    objects: dict[str, tuple[bytes, BlobInfo]]
    prefix: str
    pacer: Pacer
    runtime: Runtime
    outages: dict[ProbeStep, StrongroomError]
    steps: Sequence[ProbeStep]

    async def put(self, name: str, content: AsyncIterator[Buffer], size: int) -> None:
        """See ``TargetStore.put``."""
        check_blob_name(name)
        self._need("write")
        gathered = bytearray()
        async for chunk in Feed(self.pacer.paced(content), size):
            gathered += chunk
        self._need("write")
        info = BlobInfo(name, size, self.runtime.now())
        self.objects[self.prefix + name] = (bytes(gathered), info)

    async def get(
        self, name: str, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """See ``TargetStore.get``."""
        check_blob_name(name)
        check_range(start, end)
        self._need("read")
        found = self.objects.get(self.prefix + name)
        if found is None:
            raise NotFound("There is no such object.")
        wanted = found[0][start:end]
        for at in range(0, len(wanted), _PIECE):
            await asyncio.sleep(0)
            yield wanted[at : at + _PIECE]

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """See ``TargetStore.list``."""
        check_blob_prefix(prefix)
        self._need("read")
        for full, (_, info) in sorted(self.objects.items()):
            if full == self.prefix + info.name and info.name.startswith(prefix):
                yield info

    async def delete(self, name: str) -> None:
        """See ``TargetStore.delete``."""
        check_blob_name(name)
        self._need("delete")
        self.objects.pop(self.prefix + name, None)

    async def probe(self) -> Sequence[ProbeResult]:
        """See ``TargetStore.probe``."""
        results = []
        for step in self.steps:
            error = self.outages.get(step)
            results.append(ProbeResult(step, error is None, error.detail if error else ""))
            if error is not None:
                break
        return results

    async def close(self) -> None:
        """See ``TargetStore.close``."""

    def _need(self, step: ProbeStep) -> None:
        for needed in (*_NETWORK, step):
            if needed in self.outages:
                raise self.outages[needed]


@dataclass(slots=True)
class MemoryTargets:
    """A ``TargetConnector``.

    Attributes:
        runtime: Time.
        buckets: The objects of each bucket, as ``MemoryTarget.objects``.
        outages: Of each bucket, as ``MemoryTarget.outages``; empty: all is well.
        opened: The credentials and the limit of every target that was opened, oldest first.
    """

    runtime: Runtime
    buckets: dict[str, dict[str, tuple[bytes, BlobInfo]]] = field(default_factory=dict)
    outages: dict[str, dict[ProbeStep, StrongroomError]] = field(default_factory=dict)
    opened: list[tuple[TargetCredentials, int]] = field(default_factory=list)

    def open(
        self,
        tenant: str,
        address: TargetAddress,
        credentials: TargetCredentials,
        *,
        bytes_per_second: int = 0,
    ) -> MemoryTarget:
        """See ``TargetConnector.open``."""
        check_address(address)
        check_credentials(address.kind, credentials)
        bucket, steps = address.bucket, _OBJECTS
        if address.kind == "folder":
            bucket = f"{tenant}/{bucket}"
        else:
            endpoint_of(address, Dialer())
            steps = (*_NETWORK, *_OBJECTS)
        self.opened.append((credentials, bytes_per_second))
        return MemoryTarget(
            self.buckets.setdefault(bucket, {}),
            address.prefix,
            Pacer(bytes_per_second, self.runtime),
            self.runtime,
            self.outages.setdefault(bucket, {}),
            steps,
        )

    async def close(self) -> None:
        """See ``TargetConnector.close``."""
