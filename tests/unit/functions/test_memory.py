"""The budget of memory: a share for each caller, held until the client has taken what was sent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from functions.api.memory import (
    CLAIM,
    STREAM_BYTES,
    WHOLE_BYTES,
    Claim,
    HeldMemory,
    MemoryBudget,
)
from functions.api.telemetry import RequestTelemetry
from shared.base.errors import RateLimited, Unavailable

pytestmark = pytest.mark.anyio

A, B, C = ({name: 10} for name in "abc")


async def test_one_caller_leaves_the_room_of_others() -> None:
    budget = MemoryBudget(25, patience=0)
    await budget.hold(A, 10)
    with pytest.raises(RateLimited) as refused:
        await budget.hold(A, 1)
    assert refused.value.retry_after > 0
    with pytest.raises(RateLimited):
        await budget.hold(B | A, 1)
    await budget.hold(B, 10)
    with pytest.raises(Unavailable):
        await budget.hold(C, 6)
    await budget.hold(C, 5)
    budget.free(A, 10)
    await budget.hold(A, 10)


async def test_who_waits_gets_what_is_freed() -> None:
    budget = MemoryBudget(20, patience=60)
    await budget.hold(A, 10)
    waiting = asyncio.create_task(budget.hold(A, 4))
    await asyncio.sleep(0)
    assert not waiting.done()
    budget.free(A, 10)
    await waiting
    budget.free(A, 4)
    assert not budget._held
    assert budget._all == 0


async def test_who_leaves_while_waiting_holds_nothing() -> None:
    budget = MemoryBudget(20, patience=60)
    await budget.hold(A, 10)
    waiting = asyncio.create_task(budget.hold(A, 4))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    budget.free(A, 10)
    assert not budget._held


async def test_a_claim_grows_and_shrinks_on_the_account_of_its_callers() -> None:
    budget = MemoryBudget(STREAM_BYTES, patience=0)
    claim = Claim(budget)
    claim.callers |= {"address": STREAM_BYTES, "user": STREAM_BYTES}
    await claim.set(1_000 * STREAM_BYTES)
    assert budget._held == {"address": STREAM_BYTES, "user": STREAM_BYTES}
    await claim.set(7)
    await claim.set(9)
    assert budget._held == {"address": 9, "user": 9}
    claim.release()
    claim.release()
    assert not budget._held


class Client:
    """Takes what an app sends, once the test lets it."""

    def __init__(self, budget: MemoryBudget, response: Response, method: str = "GET") -> None:
        self.sent: list[Message] = []
        self.takes = asyncio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope[CLAIM].callers["caller"] = STREAM_BYTES
            await response(scope, receive, send)

        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            # As uvicorn does: what comes after something large waits until that is taken.
            if any(len(each.get("body", b"")) > WHOLE_BYTES for each in self.sent):
                await self.takes.wait()
            self.sent.append(message)

        scope: Scope = {
            "type": "http",
            "method": method,
            "asgi": {"spec_version": "2.4"},
            "strongroom.request": "req_" + "0" * 26,
            "scheme": "http",
            "headers": [],
        }
        self.done = asyncio.create_task(
            RequestTelemetry(HeldMemory(app, budget))(scope, receive, send)
        )

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    def body(self) -> bytes:
        return b"".join(each.get("body", b"") for each in self.sent)


async def pieces(count: int) -> Any:
    for _ in range(count):
        yield bytes(100_000)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_response_is_held_until_the_client_has_taken_it(streamed: bool) -> None:
    budget = MemoryBudget()
    content = (
        StreamingResponse(pieces(2), headers={"Content-Length": "200000"})
        if streamed
        else Response(bytes(200_000))
    )
    client = Client(budget, content)
    await client.settle()
    assert not client.done.done()
    assert budget._held == {"caller": 200_000}
    client.takes.set()
    await client.done
    assert client.body() == bytes(200_000)
    assert not client.sent[-1].get("more_body")
    assert not budget._held


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_is_small_or_is_not_sent_costs_nothing(method: str) -> None:
    budget = MemoryBudget(0, patience=0)
    size = WHOLE_BYTES if method == "GET" else STREAM_BYTES
    response = Response(headers={"Content-Length": str(size)})
    client = Client(budget, response, method)
    await client.done
    assert client.sent[0]["status"] == 200


async def test_a_response_that_has_no_room_becomes_a_problem() -> None:
    budget = MemoryBudget(100_000, patience=0)
    client = Client(budget, Response(bytes(200_000)))
    await client.done
    assert client.sent[0]["status"] == 503
    problem = json.loads(client.body())
    assert problem["type"] == "urn:strongroom:problem:unavailable"
    assert not budget._held
