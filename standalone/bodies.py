"""Large bodies: read from the connection into the memory of whoever takes them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from functions.api.bodies import interrupted
from shared.base.activity import Activity
from shared.base.streams import SizedStream

if TYPE_CHECKING:
    from standalone.frontend import LimitedHttpProtocol

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class ArrivingBody(SizedStream, asyncio.BufferedProtocol):
    """What is to come of a body of known size.

    uvicorn reads a body in chunks of 256 KB, copies each and wakes the app for it. This takes the
    connection while somebody waits for bytes, and wakes them once, when all have come.

    Args:
        protocol: Of the connection; it has the connection back whenever nobody waits for the body.
        transport: Of the connection.
        size: Bytes of the body that are to come, those included that its cycle has.
        activity: Of the process.

    Attributes:
        taken: Bytes that were read.
    """

    def __init__(
        self,
        protocol: LimitedHttpProtocol,
        transport: asyncio.Transport,
        size: int,
        activity: Activity,
    ) -> None:
        self._protocol = protocol
        self._transport = transport
        self._cycle = protocol.cycle
        self._size = size
        self._activity = activity
        self._memory = memoryview(b"")
        self._full: asyncio.Future[None] | None = None
        self.taken = 0

    @property
    def left(self) -> int:
        """See ``SizedStream.left``."""
        return self._size - self.taken

    async def read_into(self, memory: memoryview) -> None:
        """See ``SizedStream.read_into``. What was read for a caller who is cancelled is lost.

        Raises:
            Interrupted: The client has disconnected.
            ValueError: The memory is larger than what is to come.
        """
        if len(memory) > self.left:
            raise ValueError("there is less to come than would fill the memory")
        # What came with the head, or before anybody asked for it.
        early = memory[: len(self._cycle.body)]
        early[:] = self._cycle.body[: len(early)]
        self._cycle.body = self._cycle.body[len(early) :]
        self.taken += len(early)
        if len(early) < len(memory):
            with self._activity.waiting:
                await self._receive(memory[len(early) :])

    async def _receive(self, memory: memoryview) -> None:
        if self._cycle.disconnected or self._transport.is_closing():
            raise interrupted()
        if self._cycle.waiting_for_100_continue:
            self._cycle.transport.write(_CONTINUE)
            self._cycle.waiting_for_100_continue = False
        self._memory = memory
        self._full = asyncio.get_running_loop().create_future()
        self._hand_over(self)
        self._protocol.flow.resume_reading()
        try:
            await self._full
        finally:
            self._hand_over(self._protocol)
            self._memory = memoryview(b"")

    def _hand_over(self, protocol: asyncio.BaseProtocol) -> None:
        """Give the connection to a protocol; nothing is read until reading is resumed."""
        if not self._transport.is_closing():
            # How a transport reads is settled when it begins to.
            self._protocol.flow.pause_reading()
            self._transport.set_protocol(protocol)

    def get_buffer(self, sizehint: int) -> memoryview:
        """The memory into which the next bytes are read: no more than belongs to the body."""
        return self._memory

    def buffer_updated(self, nbytes: int) -> None:
        """Take note of bytes that were read."""
        self._memory = self._memory[nbytes:]
        self.taken += nbytes
        self._protocol.note_content(nbytes)
        if not self._memory:
            self._protocol.flow.pause_reading()
            if self._full is not None and not self._full.done():
                self._full.set_result(None)

    def eof_received(self) -> bool:
        """The client sends no more."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits that the client has disconnected."""
        self._protocol.connection_lost(exc)
        if self._full is not None and not self._full.done():
            self._full.set_exception(interrupted())

    def pause_writing(self) -> None:
        """As the protocol."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """As the protocol."""
        self._protocol.resume_writing()
