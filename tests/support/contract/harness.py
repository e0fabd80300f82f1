"""What a contract suite needs of an adapter beside its port: power over time, and over its life.

``advance`` lets that many seconds pass for the adapter: an injected clock moves, or a real service
is made to believe it. ``reopen`` gives up the port's object as a crash would, without a goodbye,
and returns another one on the same data.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.ports.blobs import BlobStore
from shared.ports.bus import EventBus, EventSource
from shared.ports.keys import KeyVault
from shared.ports.records import RecordStore
from shared.ports.write_once import WriteOnceStore

Advance = Callable[[float], Awaitable[None]]
Now = Callable[[], datetime]


class Bus(EventBus, EventSource, Protocol):
    """Both sides of the bus."""


@dataclass
class RecordsHarness:
    store: RecordStore
    now: Now
    advance: Advance
    reopen: Callable[[], Awaitable[RecordStore]]


@dataclass
class BusHarness:
    bus: Bus
    now: Now
    advance: Advance
    reopen: Callable[[], Awaitable[Bus]]


@dataclass
class BlobsHarness:
    store: BlobStore
    other: BlobStore
    now: Now
    reopen: Callable[[], Awaitable[BlobStore]]


@dataclass
class WriteOnceHarness:
    store: WriteOnceStore
    other: BlobStore
    now: Now
    advance: Advance
    reopen: Callable[[], Awaitable[WriteOnceStore]]


@dataclass
class KeysHarness:
    vault: KeyVault
    reopen: Callable[[], Awaitable[KeyVault]]
