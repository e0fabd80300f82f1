"""HttpCollectors: sends webhooks through a gate, which reaches public addresses over TLS alone."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from shared.adapters.external.addresses import HTTPS_PORT, is_name, parse_address
from shared.adapters.external.dialing import Dialer
from shared.adapters.external.gate import Gate, GateClient
from shared.base.errors import InvalidInput, Unavailable
from shared.ports.clock import Runtime
from shared.ports.collectors import ANSWER_SECONDS, MAX_URL

if TYPE_CHECKING:
    import httpx

_URL: Final = re.compile(r"https://[\x21\x24-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7e]+")
"""Of RFC 3986, without a fragment; what else there is has to be percent-encoded."""

_READ_BYTES: Final = 65_536
"""So much of a response is read, so that its sender sees it taken; what follows is left."""

_RETRY_AFTER: Final = 60


class HttpCollectors:
    """A ``Collectors``.

    Args:
        runtime: Randomness.
        dialer: Connects. Only tests have one that reaches other than public hosts.
        certificate: Tests alone: a certificate, PEM, that is trusted besides the machine's own.
    """

    def __init__(
        self, runtime: Runtime, *, dialer: Dialer | None = None, certificate: str = ""
    ) -> None:
        self._runtime = runtime
        self._dialer = dialer or Dialer()
        self._certificate = certificate
        self._gate = Gate(self._dialer, runtime.entropy)

    def check(self, url: str) -> None:
        """See ``Collectors.check``."""
        check_url(url, self._dialer)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """See ``Collectors.post``."""
        import httpx

        self.check(url)
        client = GateClient(self._gate, self._runtime.random(8).hex())
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                # A client of its own: nothing that a collector says, such as a cookie, reaches another.
                async with httpx.AsyncClient(
                    proxy=await client.url(),
                    verify=self._trusted,
                    trust_env=False,
                    follow_redirects=False,
                    timeout=ANSWER_SECONDS,
                ) as http:
                    return await _sent(http, url, headers, body)
        except TimeoutError:
            raise Unavailable("The collector did not respond in time.", _RETRY_AFTER) from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            failure = client.failure()
            raise Unavailable(failure.value if failure else _meaning(error), _RETRY_AFTER) from None
        finally:
            client.close()

    async def close(self) -> None:
        """See ``Collectors.close``."""
        await self._gate.close()

    @cached_property
    def _trusted(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._certificate:
            context.load_verify_locations(cadata=self._certificate)
        return context


def check_url(url: str, dialer: Dialer) -> None:
    """See ``Collectors.check``.

    Args:
        url: As a tenant sent it.
        dialer: Knows what may be connected to.
    """
    if len(url) > MAX_URL or _URL.fullmatch(url) is None:
        raise InvalidInput(
            f"Send an https URL of at most {MAX_URL} ASCII characters, without a fragment."
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", HTTPS_PORT if parts.port is None else parts.port
    except ValueError:
        host, port = "", 0
    if not host or "@" in parts.netloc:
        raise InvalidInput("The URL needs a host, and can have no user.")
    address = parse_address(host)
    if not is_name(host) if address is None else not dialer.allows(address):
        raise InvalidInput("The host of the URL is neither a full name nor a public address.")
    if not dialer.takes_port(port):
        raise InvalidInput(f"The port of the URL must be {HTTPS_PORT}.")


async def _sent(http: httpx.AsyncClient, url: str, headers: Mapping[str, str], body: bytes) -> int:
    async with http.stream("POST", url, headers=dict(headers), content=body) as response:
        read = 0
        # As it comes: what is compressed must not grow here.
        async for piece in response.aiter_raw():
            read += len(piece)
            if read > _READ_BYTES:
                break
        return response.status_code


def _meaning(error: Exception) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "The collector's certificate is not trusted, or is for another name."
    return "The connection to the collector broke; it may not speak TLS 1.2 or HTTP."
