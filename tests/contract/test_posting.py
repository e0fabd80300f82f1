"""Posting: what ``shared.ports.posting`` promises, over TLS on this machine and in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.adapters.external.posting import HttpPoster
from shared.adapters.memory.posting import MemoryPoster
from shared.base.errors import Unavailable
from shared.ports.clock import Runtime, SystemClock, system_entropy
from shared.ports.posting import (
    MAX_RESPONSE,
    PostResponse,
    is_loopback_url,
    is_service_url,
)
from tests.contract.test_collectors import collector
from tests.support.contract.azure import machine, sockets_closed
from tests.support.emulators.tls import make_certificate

pytestmark = pytest.mark.anyio

RUNTIME = Runtime(SystemClock(), system_entropy)
BODY = b"old 0\n\na checkpoint"


@pytest.fixture
async def poster() -> AsyncIterator[HttpPoster]:
    made = HttpPoster(RUNTIME, certificate=machine().certificate.certificate.read_text())
    yield made
    await made.close()
    await sockets_closed()


def response(status: int, body: bytes, *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize("tls", [True, False])
async def test_status_media_type_and_body_are_returned(poster: HttpPoster, tls: bool) -> None:
    async with collector(tls=tls) as there:
        there.response = response(409, b"17\n", "Content-Type: Text/X.tlog.size; charset=utf-8")
        url = f"{'https' if tls else 'http'}://127.0.0.1:{there.port}/log/add-checkpoint"
        found = await poster.post(url, "text/plain", BODY)
    assert found == PostResponse(409, "text/x.tlog.size", b"17\n")
    [(head, body)] = there.requests
    assert head.startswith(b"POST /log/add-checkpoint HTTP/1.1\r\n")
    assert b"content-type: text/plain\r\n" in head.lower()
    assert b"authorization" not in head.lower()
    assert body == BODY


async def test_no_redirect_is_followed(poster: HttpPoster) -> None:
    async with collector() as there, collector() as elsewhere:
        location = f"Location: https://127.0.0.1:{elsewhere.port}/"
        there.response = response(307, b"", location)
        found = await poster.post(f"https://127.0.0.1:{there.port}/", "text/plain", BODY)
        assert found == PostResponse(307, "", b"")
        assert elsewhere.visits == 0


async def test_a_response_is_bounded(poster: HttpPoster) -> None:
    async with collector() as there:
        url = f"https://127.0.0.1:{there.port}/"
        there.response = response(200, b"x" * MAX_RESPONSE)
        assert len((await poster.post(url, "text/plain", BODY)).body) == MAX_RESPONSE
        there.response = response(200, b"x" * (MAX_RESPONSE + 1))
        with pytest.raises(Unavailable, match="more than 65,536 bytes"):
            await poster.post(url, "text/plain", BODY)


async def test_a_silent_service_is_given_up(
    poster: HttpPoster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.adapters.external.posting.RESPONSE_SECONDS", 0.3)
    async with collector() as there:
        there.response = b""
        with pytest.raises(Unavailable, match="service did not respond in time"):
            await poster.post(f"https://127.0.0.1:{there.port}/", "text/plain", BODY)


async def test_without_trust_nothing_is_sent(poster: HttpPoster, tmp_path) -> None:
    async with collector(certificate=make_certificate(tmp_path)) as there:
        with pytest.raises(Unavailable, match="certificate is not trusted"):
            await poster.post(f"https://127.0.0.1:{there.port}/", "text/plain", BODY)
        assert there.requests == []


GOOD = ("https://witness.example", "https://witness.example:7380/w/1/", "https://[2001:db8::1]/tsr")
LOCAL = ("http://127.0.0.1:7380/w", "http://[::1]:80", "http://127.0.0.1")
BAD = (
    "",
    "witness.example",
    "http://witness.example/",
    "http://127.0.0.1.example/",
    "http://127.0.0.1@witness.example/",
    "https://user@witness.example/",
    "https://witness.example/?a=b",
    "https://witness.example/#a",
    "https://witness.example/\r\nX: y",
    "https://witness.example:0/",
    "ftp://witness.example/",
)


def test_which_urls_a_service_may_have() -> None:
    assert [is_service_url(url) for url in (*GOOD, *LOCAL, *BAD)] == [True] * 3 + [False] * 14
    assert [is_loopback_url(url) for url in (*LOCAL, *GOOD, *BAD)] == [True] * 3 + [False] * 14


@pytest.mark.parametrize("url", BAD)
async def test_other_urls_are_refused_unasked(poster: HttpPoster, url: str) -> None:
    with pytest.raises(Unavailable, match="may be posted to"):
        await poster.post(url, "text/plain", BODY)


async def test_the_memory_adapter_says_the_same() -> None:
    poster = MemoryPoster()
    with pytest.raises(Unavailable, match="refused the connection"):
        await poster.post(GOOD[0], "text/plain", BODY)
    poster.services[GOOD[0]] = lambda body: PostResponse(200, "", body)
    assert await poster.post(GOOD[0], "text/plain", BODY) == PostResponse(200, "", BODY)
    assert [each.url for each in poster.posted] == [GOOD[0]] * 2
    await poster.close()
