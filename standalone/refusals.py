"""Responses that the HTTP protocol writes by itself, before there is a request that an app could see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType

from functions.api import problems
from functions.api.app import STANDARD_HEADERS
from functions.api.trace_context import new_request_id, new_traceparent
from shared.base.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Refusal:
    """A problem (RFC 9457) after which the connection ends.

    Attributes:
        status: The HTTP status.
        slug: The last part of the problem's ``type``.
        title: What kind of problem it is.
        detail: What to do about it.
        headers: Of the response, besides those of every response.
    """

    status: int
    slug: str
    title: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def to_bytes(self) -> bytes:
        """The whole response, as HTTP/1.1 writes it, with a trace and an id of its own."""
        traceparent, request_id = new_traceparent(None), new_request_id()
        response = problems.problem(
            self.status,
            self.slug,
            self.title,
            self.detail,
            {
                **STANDARD_HEADERS,
                **self.headers,
                "traceparent": traceparent,
                "Request-Id": request_id,
                "Connection": "close",
            },
            **problems.occurrence(traceparent, request_id),
        )
        head = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}".encode()]
        head += [name + b": " + value for name, value in response.raw_headers]
        return b"\r\n".join([*head, b"", b""]) + bytes(response.body)


def bad_request(detail: str) -> Refusal:
    """The refusal of a request that is not valid HTTP."""
    return Refusal(400, InvalidInput.slug, InvalidInput.title, detail)
