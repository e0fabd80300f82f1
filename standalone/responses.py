"""How responses leave: the head together with what follows it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

_HEAD: Final = b"HTTP/1.1 "


class JoiningTransport(asyncio.Transport):
    """A transport that sends the head of a response in one call with the beginning of its body.

    uvicorn writes the two one after the other. Where nothing waits to be sent, each write is a call of
    the operating system, which wakes the client; a small response should wake it once.

    Args:
        transport: The connection's own.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._head = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; a head leaves with the next ones, or once the event loop goes on."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines([head, data])
        elif bytes(data[: len(_HEAD)]) == _HEAD:
            self._head = bytes(data)
            asyncio.get_running_loop().call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Send what is held, and end the connection."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._head = b""
        self._transport.abort()

    def get_write_buffer_size(self) -> int:
        """Bytes that have not left."""
        return len(self._head) + self._transport.get_write_buffer_size()

    def is_closing(self) -> bool:
        """Whether the connection is ending."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """Take nothing from the client."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take from the client again."""
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known of the connection."""
        return self._transport.get_extra_info(name, default)

    def _flush(self) -> None:
        head, self._head = self._head, b""
        if head and not self._transport.is_closing():
            self._transport.write(head)
