"""BlobStore: immutable objects, created once and never overwritten."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from shared.base.buffers import Buffer

NAME_SEGMENT: Final = r"[a-z0-9_-][a-z0-9._-]{0,199}"
"""What a name is made of, and joined by ``/``; see ``BlobStore``."""

MAX_NAME: Final = 512
"""Characters of a name."""

_NAME: Final = re.compile(rf"{NAME_SEGMENT}(?:/{NAME_SEGMENT})*")


def is_blob_name(name: str) -> bool:
    """Whether an object can have this name."""
    return len(name) <= MAX_NAME and _NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """What a store knows about an object.

    Attributes:
        name: Its name.
        size: Its size in bytes.
        modified_at: When it became visible.
        coding: The ``Content-Encoding`` under which a client put it, where the store takes any and
            ``head`` found it.
    """

    name: str
    size: int
    modified_at: datetime
    coding: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class UploadGrant:
    """A URL that takes one object from a client, without any other credential, until it expires.

    The client sends ``method`` to ``url`` with exactly these ``headers`` and the content as the body.
    """

    url: str
    method: str
    headers: Mapping[str, str]
    expires_at: datetime


class BlobStore(Protocol):
    """A flat store of immutable objects.

    Names are ``/``-separated segments of 1 to 200 of ``[a-z0-9._-]``, none of them starting with a
    dot, 512 characters in all at most; any other name raises ``ValueError``. Errors of the service
    behind it become ``Unavailable`` once the adapter's own retries are used up.
    """

    async def put(self, name: str, content: AsyncIterator[Buffer]) -> int:
        """Create the object from a stream; return its size in bytes.

        When this returns, the object survives a power failure. Until then it is not visible under its
        name; if ``content`` raises, or the process dies, nothing is. Each chunk is used before the next
        one is asked for.

        Raises:
            Conflict: An object of this name exists; it is untouched.
        """
        ...

    async def put_all(self, contents: Sequence[tuple[str, Buffer]]) -> None:
        """Create small objects that nobody waits for one by one; each as durable as by ``put``.

        If this raises, any number of them may have been created.

        Args:
            contents: Each object's name and content; all of it together is in memory.

        Raises:
            Conflict: An object of one of these names exists; it is untouched.
        """
        ...

    def get(self, name: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Stream the bytes ``start`` (included) to ``end`` (excluded; None: to the end).

        A range that reaches past the object's end gives what there is, perhaps nothing.

        Raises:
            NotFound: There is no such object (raised by the first ``anext``).
            ValueError: The range starts before 0, or ends before it starts.
            Damaged: The store has noticed that it cannot give back what was put.
        """
        ...

    async def get_all(self, wanted: Sequence[tuple[str, int]]) -> Sequence[bytes | None]:
        """Read small objects that nobody waits for one by one.

        Args:
            wanted: Each object's name, and how many of its first bytes to read at most; all of it together
                is in memory.

        Returns:
            What was read, in the same order. None: there is no such object, or the store has noticed that
            it cannot give back what was put.

        Raises:
            ValueError: Less than nothing is to be read.
        """
        ...

    async def head(self, name: str) -> BlobInfo:
        """Describe the object.

        Raises:
            NotFound: There is no such object.
        """
        ...

    def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """Every visible object whose name starts with ``prefix``, in the order of their names.

        Raises:
            ValueError: No name can start so.
        """
        ...

    async def delete(self, name: str) -> None:
        """Remove the object; where there is none, do nothing."""
        ...

    async def copy_from(self, source: BlobStore, source_name: str, name: str) -> int:
        """Create ``name`` here from an object of another store; return its size. As durable as ``put``.

        Raises:
            NotFound: The source has no such object.
            Conflict: ``name`` exists here; it is untouched.
        """
        ...

    async def grant_upload(self, name: str, *, max_size: int, expires_at: datetime) -> UploadGrant:
        """Let a client put one object of at most ``max_size`` bytes under ``name`` until ``expires_at``.

        A store that cannot bind the size into the grant leaves its check to the reader.
        """
        ...
