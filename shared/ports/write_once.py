"""WriteOnceStore: objects that nobody can change or remove before a date."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.base.buffers import Buffer
from shared.ports.blobs import BlobInfo, BlobStore


@dataclass(frozen=True, slots=True)
class RetainedInfo(BlobInfo):
    """What a store knows about an object, and the date until which it is retained, UTC."""

    retain_until: datetime


class WriteOnceStore(Protocol):
    """A flat store of objects that are retained: until an object's date it can only be read.

    Names, ranges and ``Unavailable`` are those of ``BlobStore``. A date can be moved later, never earlier,
    whoever asks. Dates are kept in whole seconds, rounded up; one without a time zone, or more than 146,000
    days ahead, raises ``ValueError``.
    """

    async def put(
        self, name: str, content: AsyncIterator[Buffer], *, retain_until: datetime
    ) -> int:
        """Create the object from a stream; return its size in bytes. As durable as ``BlobStore.put``.

        The object never exists without its date.

        Raises:
            Conflict: An object of this name exists; it is untouched.
            ValueError: The date has passed.
        """
        ...

    async def copy_from(
        self, source: BlobStore, source_name: str, name: str, *, retain_until: datetime
    ) -> int:
        """Create ``name`` here from an object of another store; return its size.

        Raises:
            NotFound: The source has no such object.
            Conflict: ``name`` exists here; it is untouched.
            ValueError: The date has passed.
        """
        ...

    def get(self, name: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Stream a range of the object; see ``BlobStore.get``.

        Raises:
            NotFound: There is no such object (raised by the first ``anext``).
            ValueError: The range starts before 0, or ends before it starts.
            Damaged: The store has noticed that it cannot give back what was put.
        """
        ...

    async def head(self, name: str) -> RetainedInfo:
        """Describe the object.

        Raises:
            NotFound: There is no such object.
        """
        ...

    def list(self, prefix: str = "") -> AsyncIterator[RetainedInfo]:
        """Every object whose name starts with ``prefix``, in the order of their names.

        Raises:
            ValueError: No name can start so.
        """
        ...

    async def extend(self, name: str, retain_until: datetime) -> None:
        """Retain the object until a later date.

        Where its own date is as late already, or the later one has passed, do nothing.

        Raises:
            NotFound: There is no such object.
        """
        ...

    async def delete(self, name: str) -> None:
        """Remove the object; where there is none, do nothing.

        Raises:
            Retained: Its date has not come; it is untouched.
        """
        ...
