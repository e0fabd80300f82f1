"""What a request is known by: its trace (https://www.w3.org/TR/trace-context/), and its own id.

Where telemetry is off there are no spans, and yet a request has a trace: support and the audit log name it.
"""

from __future__ import annotations

import re
import secrets
from typing import Final

from shared.base.ids import new_id
from shared.ports.clock import SystemClock, system_entropy

_VERSION_00: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-.*-.*", re.DOTALL)


def new_traceparent(given: str | None) -> str:
    """Return a request's trace context: the client's trace with a span of this server, or a new trace.

    Args:
        given: The client's ``traceparent``; None or malformed: a new trace begins.
    """
    span = secrets.token_hex(8)
    found = _VERSION_00.fullmatch(given) if given else None
    return f"00-{found[1] if found else secrets.token_hex(16)}-{span}-01"


def trace_id(traceparent: str) -> str:
    """Return the trace id in a ``traceparent``."""
    return traceparent.split("-")[1]


def new_request_id() -> str:
    """Return the id of a request: ``req_`` and a ULID, never a text of the client's."""
    return new_id("req", SystemClock().now(), system_entropy)
