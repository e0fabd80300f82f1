"""HttpPoster and GatedHttp: posting to the hosts of others, over TLS, within bounds."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from shared.adapters.external.dialing import Dialer
from shared.adapters.external.gate import Gate, GateClient
from shared.base.errors import Unavailable
from shared.ports.clock import Runtime
from shared.ports.posting import (
    MAX_RESPONSE,
    RESPONSE_SECONDS,
    PostResponse,
    is_loopback_url,
    is_service_url,
)

if TYPE_CHECKING:
    import httpx

USER_AGENT: Final = "Strongroom/1"

_RETRY_AFTER: Final = 60


@dataclass(frozen=True, slots=True)
class Received:
    """A response, of which a part was read.

    Attributes:
        status: The HTTP status.
        media_type: Without parameters, in lower case.
        body: Its first bytes, as they came: what is compressed must not grow here.
        is_complete: Whether that is all of it.
    """

    status: int
    media_type: str
    body: bytes
    is_complete: bool


class GatedHttp:
    """Posts through a gate, which connects to what a dialer allows, and for TLS alone.

    Args:
        runtime: Randomness.
        dialer: Knows what may be connected to.
        what: Who is posted to, for errors.
        certificate: Tests alone: a certificate, PEM, that is trusted besides the machine's own.
    """

    def __init__(
        self, runtime: Runtime, dialer: Dialer, what: str, *, certificate: str = ""
    ) -> None:
        self._runtime = runtime
        self._what = what
        self._certificate = certificate
        self._gate = Gate(dialer, runtime.entropy)

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, seconds: float
    ) -> Received:
        """Post a body, and read at most ``MAX_RESPONSE`` bytes of the response.

        Args:
            url: What the caller has checked; http, on this machine alone, goes past the gate.
            headers: Besides those that HTTP needs.
            body: Any bytes.
            seconds: How long all of it may take.

        Raises:
            Unavailable: Nothing responded in time, or not over TLS.
        """
        import httpx

        client = GateClient(self._gate, self._runtime.random(8).hex())
        try:
            async with asyncio.timeout(seconds):
                proxy = None if is_loopback_url(url) else await client.url()
                # A client of its own: nothing that one host says, such as a cookie, reaches another.
                async with httpx.AsyncClient(
                    proxy=proxy,
                    verify=self._trusted,
                    trust_env=False,
                    follow_redirects=False,
                    timeout=seconds,
                ) as http:
                    return await _sent(http, url, headers, body)
        except TimeoutError:
            raise Unavailable(f"The {self._what} did not respond in time.", _RETRY_AFTER) from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            failure = client.failure()
            detail = failure.value if failure else self._meaning(error)
            raise Unavailable(detail, _RETRY_AFTER) from None
        finally:
            client.close()

    async def close(self) -> None:
        """Break every connection."""
        await self._gate.close()

    @cached_property
    def _trusted(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._certificate:
            context.load_verify_locations(cadata=self._certificate)
        return context

    def _meaning(self, error: Exception) -> str:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return f"The {self._what}'s certificate is not trusted, or is for another name."
        return f"The connection to the {self._what} broke; it may not speak TLS 1.2 or HTTP."


class HttpPoster:
    """A ``Poster``. An operator's own service may be at any address and port, unlike a tenant's.

    Args:
        runtime: Randomness.
        certificate: Tests alone: a certificate, PEM, that is trusted besides the machine's own.
    """

    def __init__(self, runtime: Runtime, *, certificate: str = "") -> None:
        dialer = Dialer(allows=lambda _: True, ports=None)
        self._http = GatedHttp(runtime, dialer, "service", certificate=certificate)

    async def post(self, url: str, media_type: str, body: bytes) -> PostResponse:
        """See ``Poster.post``."""
        if not (is_service_url(url) or is_loopback_url(url)):
            raise Unavailable("The URL of the service is not one that may be posted to.")
        headers = {"content-type": media_type, "user-agent": USER_AGENT}
        received = await self._http.post(url, headers, body, RESPONSE_SECONDS)
        if not received.is_complete:
            raise Unavailable(f"The service responded with more than {MAX_RESPONSE:,} bytes.")
        return PostResponse(received.status, received.media_type, received.body)

    async def close(self) -> None:
        """See ``Poster.close``."""
        await self._http.close()


async def _sent(
    http: httpx.AsyncClient, url: str, headers: Mapping[str, str], body: bytes
) -> Received:
    async with http.stream("POST", url, headers=dict(headers), content=body) as response:
        read = bytearray()
        async for piece in response.aiter_raw():
            read += piece
            if len(read) > MAX_RESPONSE:
                break
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return Received(
            response.status_code,
            media_type,
            bytes(read[:MAX_RESPONSE]),
            len(read) <= MAX_RESPONSE,
        )
