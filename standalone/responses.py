"""How responses leave: the head with what follows it, large parts without the interpreter's lock."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

from shared.base.buffers import Buffer

LARGE: Final = 65_536
"""Bytes that take long enough to send for other threads to work meanwhile."""

_HEAD: Final = b"HTTP/1.1 "


class ResponseTransport(asyncio.Transport):
    """A transport for responses.

    - The head leaves in one call with the beginning of its body. uvicorn writes the two one after the
      other. Where nothing waits to be sent, each write is a call of the operating system, which wakes the
      client; a small response should wake it once.
    - A large part of a body is given to the operating system without the interpreter's lock, which uvloop
      keeps meanwhile: the next segment is opened at the same time (decision 49).

    Args:
        transport: The connection's own.

    Raises:
        ValueError: It has TLS, whose bytes only it can send.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        if transport.get_extra_info("sslcontext") is not None:
            raise ValueError("responses leave without TLS; put a proxy with TLS before the server")
        self._transport = transport
        self._head = b""

    def write(self, data: Buffer) -> None:
        """Send bytes; a head leaves with the next ones, or once the event loop goes on."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines([head, data])
        elif bytes(data[: len(_HEAD)]) == _HEAD:
            self._head = bytes(data)
            asyncio.get_running_loop().call_soon(self._flush)
        else:
            if len(data) >= LARGE:
                data = memoryview(data)[self._send(data) :]
            if data:
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

    def _send(self, data: Buffer) -> int:
        """Send what the operating system takes at once, unless more waits to leave; return how much."""
        if self._transport.get_write_buffer_size() or self._transport.is_closing():
            return 0
        try:
            return os.write(self._transport.get_extra_info("socket").fileno(), data)
        except OSError:
            return 0  # the transport, which is given all of it, finds out as well
