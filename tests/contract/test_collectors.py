"""Collectors: what ``shared.ports.collectors`` promises, over TLS on this machine and in memory."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from shared.adapters.external.addresses import IPAddress
from shared.adapters.external.collectors import HttpCollectors
from shared.adapters.external.dialing import Dialer
from shared.adapters.memory.collectors import MemoryCollectors
from shared.base.errors import InvalidInput, Unavailable
from shared.crypto.webhooks import secret_text, webhook_headers
from shared.ports import collectors as port
from shared.ports.clock import Runtime, SystemClock, system_entropy
from shared.ports.collectors import Collectors
from tests.support.contract.azure import machine, sockets_closed
from tests.support.emulators.tls import Certificate, make_certificate

pytestmark = pytest.mark.anyio

RUNTIME = Runtime(SystemClock(), system_entropy)
PUBLIC = ip_address("127.0.0.2")
"""Plays a public address; all others of this machine are private."""

SECRETS = [b"a" * 32, b"b" * 32]
BODY = json.dumps({"type": "webhook.probe", "data": {"name": "zebra"}}).encode()


@pytest.fixture(autouse=True)
async def _all_is_closed() -> AsyncIterator[None]:
    yield
    await sockets_closed()


@dataclass
class Collector:
    """An HTTPS server, which responds with what a test says.

    Attributes:
        response: All of it, or nothing: then it stays silent.
        requests: Head and body of each.
    """

    response: bytes = b"HTTP/1.1 204 No Content\r\n\r\n"
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    port: int = 0
    visits: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._respond(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readexactly(1)
            if head == b"\x16":  # TLS, which a server without it does not understand
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return
            head += await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            self.requests.append((head, await reader.readexactly(length)))
            if self.response:
                writer.write(self.response)
                await writer.drain()
            else:
                await reader.read()


@asynccontextmanager
async def collector(
    host: str = "127.0.0.1", *, tls: bool = True, certificate: Certificate | None = None
) -> AsyncIterator[Collector]:
    made = Collector()
    shown = certificate or machine().certificate
    context = shown.server_context() if tls else None
    server = await asyncio.start_server(made.serve, host, 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


@asynccontextmanager
async def http_collectors(dialer: Dialer) -> AsyncIterator[HttpCollectors]:
    pem = machine().certificate.certificate.read_text()
    made = HttpCollectors(RUNTIME, dialer=dialer, certificate=pem)
    try:
        yield made
    finally:
        await made.close()


LOCAL = Dialer(allows=lambda _: True, ports=None)


async def test_a_message_arrives_as_the_specification_has_it() -> None:
    async with collector() as there, http_collectors(LOCAL) as collectors:
        url = f"https://127.0.0.1:{there.port}/hook?key=1"
        headers = webhook_headers(SECRETS, "msg_1", int(time.time()), BODY)
        assert await collectors.post(url, headers, BODY) == 204
    [(head, body)] = there.requests
    line, *fields = head.decode().strip().split("\r\n")
    assert line == "POST /hook?key=1 HTTP/1.1"
    received = dict(each.split(": ", 1) for each in fields)
    assert body == BODY
    for secret in SECRETS:
        assert Webhook(secret_text(secret)).verify(body, received)["data"] == {"name": "zebra"}
    assert "proxy-authorization" not in {name.lower() for name in received}, "our own gate's"


@pytest.mark.parametrize("status", [200, 301, 302, 307, 400, 404, 410, 429, 500])
async def test_the_status_is_returned_and_no_redirect_followed(status: int) -> None:
    async with collector() as there, collector() as elsewhere, http_collectors(LOCAL) as collectors:
        location = f"https://127.0.0.1:{elsewhere.port}/"
        there.response = (
            f"HTTP/1.1 {status} X\r\nLocation: {location}\r\nSet-Cookie: a=b\r\n"
            "Content-Length: 2\r\n\r\nno"
        ).encode()
        url = f"https://127.0.0.1:{there.port}/"
        for _ in range(2):
            assert await collectors.post(url, {}, BODY) == status
        assert elsewhere.visits == 0
        assert all(b"cookie" not in head.lower() for head, _ in there.requests)


async def test_the_memory_adapter_says_the_same() -> None:
    collectors = MemoryCollectors()
    url = "https://collector.example/"
    collectors.answers[url] = [302, Unavailable("The host refused the connection.")]
    assert await collectors.post(url, {"webhook-id": "msg_1"}, BODY) == 302
    with pytest.raises(Unavailable):
        await collectors.post(url, {}, BODY)
    assert await collectors.post(url, {}, BODY) == 204
    assert [each.body for each in collectors.sent] == [BODY] * 3


@pytest.mark.parametrize("kind", ["external", "memory"])
@pytest.mark.parametrize(
    "url",
    [
        "http://collector.example/",
        "https://user@collector.example/",
        "https://127.0.0.1/",
        "https://192.168.1.1/",
        "https://[::1]/",
        "https://collector/",
        "https://collector.example:22/",
        "https://collector.example:0/",
        "https://collector.example:99999/",
    ],
)
async def test_what_cannot_be_a_collector_is_refused_unasked(kind: str, url: str) -> None:
    collectors: Collectors = MemoryCollectors() if kind == "memory" else HttpCollectors(RUNTIME)
    with pytest.raises(InvalidInput):
        collectors.check(url)
    with pytest.raises(InvalidInput):
        await collectors.post(url, {}, BODY)
    collectors.check("https://collector.example/hook")
    collectors.check("https://9.9.9.9/hook")
    await collectors.close()


async def test_a_name_that_turns_private_is_not_connected_to() -> None:
    """The second answer of DNS is another one, and only what was checked is connected to."""
    asked = 0

    async def resolver(_name: str) -> Sequence[str]:
        nonlocal asked
        asked += 1
        return ["127.0.0.2"] if asked == 1 else ["127.0.0.1"]

    def allows(address: IPAddress) -> bool:
        return address == PUBLIC

    async with collector("127.0.0.1") as private:
        dialer = Dialer(resolver=resolver, allows=allows, ports=None)
        async with http_collectors(dialer) as collectors:
            url = f"https://collector.example:{private.port}/"
            with pytest.raises(Unavailable, match="refused the connection"):
                await collectors.post(url, {}, BODY)  # at 127.0.0.2 nothing listens
            with pytest.raises(Unavailable, match="not at a public address"):
                await collectors.post(url, {}, BODY)
        assert private.visits == 0


async def test_without_tls_or_trust_nothing_is_sent(tmp_path: Path) -> None:
    async with collector(tls=False) as plain, http_collectors(LOCAL) as collectors:
        with pytest.raises(Unavailable, match="broke"):
            await collectors.post(f"https://127.0.0.1:{plain.port}/", {}, BODY)
        assert plain.requests == []
    another = make_certificate(tmp_path)
    async with collector(certificate=another) as there, http_collectors(LOCAL) as collectors:
        with pytest.raises(Unavailable, match="certificate"):
            await collectors.post(f"https://127.0.0.1:{there.port}/", {}, BODY)
        assert there.requests == []


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector(tls=False) as proxy, collector() as there:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with http_collectors(LOCAL) as collectors:
            await collectors.post(f"https://127.0.0.1:{there.port}/", {}, BODY)
        assert proxy.visits == 0


async def test_a_long_response_is_left_and_a_silent_collector_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with collector() as there, http_collectors(LOCAL) as collectors:
        url = f"https://127.0.0.1:{there.port}/"
        there.response = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 300_000
        assert await collectors.post(url, {}, BODY) == 200
        there.response = b""
        monkeypatch.setattr("shared.adapters.external.collectors.ANSWER_SECONDS", 0.3)
        with pytest.raises(Unavailable, match="in time"):
            await collectors.post(url, {}, BODY)
        there.response = b"nonsense \x00\r\n\r\n"
        with pytest.raises(Unavailable) as caught:
            await collectors.post(url, {}, BODY)
        assert "nonsense" not in caught.value.detail
    assert port.ANSWER_SECONDS == 15
