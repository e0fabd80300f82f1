"""How much there is to recover, and how long that will take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from client.recover.concurrency import for_each
from client.recover.content import SEGMENTS_AT_ONCE
from client.recover.format import KeyFile
from client.recover.restoring import RESTORED_AT_ONCE
from client.recover.source import Source, SourceError
from shared.crypto.streaming import SEGMENT_SIZE

_BLOCK_SIZE: Final = SEGMENTS_AT_ONCE * SEGMENT_SIZE

SAMPLES: Final = 2 * RESTORED_AT_ONCE


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast a target is, with as many requests at a time as recovering makes.

    Attributes:
        seconds_a_file: What a file takes before its first byte comes.
        bytes_a_second: Of content; 0 if there was none to measure.
    """

    seconds_a_file: float
    bytes_a_second: float

    def seconds(self, files: int, size: int) -> float:
        """How long so many files with so many bytes will take."""
        return files * self.seconds_a_file + (size / self.bytes_a_second if size else 0)


async def measure(source: Source, versions: Sequence[KeyFile], clock: Callable[[], float]) -> Rate:
    """Read the beginnings of some objects, first a byte of each, then as much as a request takes.

    Args:
        source: The target.
        versions: What is to be recovered.
        clock: Seconds.

    Raises:
        SourceError: None of them can be read.
    """
    samples = sorted(versions, key=lambda key: key.size, reverse=True)[:SAMPLES]
    errors: list[SourceError] = []
    received: dict[int, int] = {}

    async def read(key: KeyFile, size: int) -> None:
        try:
            data = (await source.read(key.object, 0, min(size, key.sealed_size))).data
            received[size] = received.get(size, 0) + len(data)
        except SourceError as error:
            errors.append(error)

    async def elapsed(size: int) -> float:
        started = clock()
        await for_each(samples, lambda key: read(key, size), RESTORED_AT_ONCE)
        return clock() - started

    first, block = await elapsed(1), await elapsed(_BLOCK_SIZE)
    if samples and not received:
        raise errors[0]
    a_file = first / len(samples) if samples else 0.0
    transfer = max(block - first, 1e-3)
    return Rate(a_file, received.get(_BLOCK_SIZE, 0) / transfer)
