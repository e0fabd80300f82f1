"""AMQP 1.0 as Service Bus speaks it: addresses, filters, messages, batches and errors."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from proton import (
    Condition,
    Data,
    Delivery,
    Described,
    Message,
    Sender,
    symbol,
    timestamp,
    ulong,
)

from .entities import StoredMessage

SESSION_FILTER = symbol("com.microsoft:session-filter")
NO_FILTER = object()
DATA_SECTION = 0x75
BATCHED_MESSAGE = b"\x00\x53"


def path(address: str | None) -> str:
    """The entity's path, whichever form the client gave its address in."""
    return urlsplit(address or "").path.lstrip("/") if "://" in (address or "") else address or ""


def session_filter(link: Sender) -> Any:
    """The session asked for; None: the next free one; ``NO_FILTER``: no session receiver."""
    data = link.remote_source.filter
    data.rewind()
    filters = data.get_object() if data.next() is not None else None
    if not filters or SESSION_FILTER not in filters:
        return NO_FILTER
    value = filters[SESSION_FILTER]
    return value.value if isinstance(value, Described) else value


def messages(raw: bytes) -> list[Message]:
    """One message, or those of a batch, whose data sections are messages themselves."""
    inner, position = [], 0
    while position < len(raw):
        data = Data()
        position += data.decode(raw[position:])
        data.rewind()
        data.next()
        section = data.get_py_described()
        if section.descriptor == ulong(DATA_SECTION) and section.value[:2] == BATCHED_MESSAGE:
            inner.append(bytes(section.value))
    messages = []
    for encoded in inner or [raw]:
        message = Message()
        message.decode(encoded)
        messages.append(message)
    return messages


def encode(stored: StoredMessage) -> bytes:
    message = Message()
    message.decode(stored.message.encode())
    message.delivery_count = stored.failures
    annotations = {
        symbol("x-opt-enqueued-time"): stamp(stored.enqueued_at),
        symbol("x-opt-sequence-number"): stored.sequence,
    }
    if stored.locked_until is not None:
        annotations[symbol("x-opt-locked-until")] = stamp(stored.locked_until)
    message.annotations = annotations
    if stored.reason is not None:
        reasons = {"DeadLetterReason": stored.reason}
        if stored.description is not None:
            reasons["DeadLetterErrorDescription"] = stored.description
        message.properties = {**(message.properties or {}), **reasons}
    return bytes(message.encode())


def stamp(at: datetime) -> timestamp:
    return timestamp(int(at.timestamp() * 1000))


def settle(delivery: Delivery, state: Any, condition: str | None = None) -> None:
    if condition is not None:
        delivery.local.condition = error_named(condition)
    delivery.update(state)
    delivery.settle()


def error_named(name: str) -> Condition:
    """An error with all of its parts, as the service sends it: the SDK counts on them."""
    return Condition(name, "An emulated error.", {symbol("emulated"): True})
