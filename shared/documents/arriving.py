"""Content of staged uploads on its way in: as many bytes as were granted, and what they are."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from shared.base.buffers import Buffer
from shared.base.errors import InvalidInput, TooLarge


class Arriving:
    """Content of a known size on its way into staging.

    Args:
        content: The content.
        size: Bytes that it must have.

    Attributes:
        sha256: Of what has arrived so far.
    """

    def __init__(self, content: AsyncIterator[Buffer], size: int) -> None:
        self.size = size
        self.sha256 = hashlib.sha256()
        self._content = content

    async def whole(self) -> AsyncIterator[Buffer]:
        """Pass the content on; it ends without an error only if it has its size.

        Raises:
            InvalidInput: It is smaller.
            TooLarge: It is larger.
        """
        size = 0
        async for piece in self._content:
            size += len(piece)
            if size > self.size:
                raise TooLarge(f"The upload was granted for {self.size} bytes.")
            self.sha256.update(piece)
            yield piece
        if size < self.size:
            raise InvalidInput(
                f"The upload was granted for {self.size} bytes, and {size} arrived; nothing was kept."
                " Put all of them to the same URL."
            )
