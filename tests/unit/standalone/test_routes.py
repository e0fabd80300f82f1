"""Which requests the host lets through to the API."""

from __future__ import annotations

import pytest
from starlette.types import Receive, Scope, Send

from standalone.routes import RouteTable
from standalone.triggers import HttpFunction


async def api(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("nothing is requested")


@pytest.mark.parametrize(
    ("method", "through"),
    [
        ("GET", True),
        ("TRACE", True),  # for the API to refuse with 405: no function can declare it
        ("PROPFIND", True),
        ("PUT", False),
    ],
)
def test_a_method_that_the_function_does_not_declare_is_not_let_through(
    method: str, through: bool
) -> None:
    functions = [HttpFunction("documents", "v1/documents/{*path}", frozenset({"GET"}))]
    routes = RouteTable(api, functions, prefix="api", mounts={})
    assert (routes.match(method, "/api/v1/documents") is not None) == through
    assert routes.match(method, "/nowhere") is None
