"""The host's own end of HTTP."""

from __future__ import annotations

import httpx
import pytest

from functions.api.app import ANSWER_HEADERS
from standalone.frontend import Frontend
from standalone.routes import RouteTable


async def api(*_: object) -> None:
    raise AssertionError("no function takes this")


@pytest.mark.anyio
async def test_an_address_that_no_function_takes_is_answered_as_the_api_answers() -> None:
    frontend = Frontend(RouteTable(api, [], prefix="api", mounts={}))
    transport = httpx.ASGITransport(app=frontend)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://house.test") as http:
        answer = await http.get("/nowhere")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert {name: answer.headers[name] for name in ANSWER_HEADERS} == ANSWER_HEADERS
    trace = answer.headers["traceparent"].split("-")[1]
    assert answer.json() == {
        "type": "urn:strongroom:problem:no-such-route",
        "title": "There is no such address",
        "status": 404,
        "detail": "See /api/v1/docs for every address.",
        "instance": f"urn:strongroom:trace:{trace}",
    }
