"""HttpCollectors: sends webhooks through a gate, which reaches public addresses over TLS alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from shared.adapters.external.addresses import HTTPS_PORT, is_name, parse_address
from shared.adapters.external.dialing import Dialer
from shared.adapters.external.posting import GatedHttp
from shared.base.errors import InvalidInput
from shared.ports.clock import Runtime
from shared.ports.collectors import ANSWER_SECONDS, MAX_URL

_URL: Final = re.compile(r"https://[\x21\x24-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7e]+")
"""Of RFC 3986, without a fragment; what else there is has to be percent-encoded."""


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
        self._dialer = dialer or Dialer()
        self._http = GatedHttp(runtime, self._dialer, "collector", certificate=certificate)

    def check(self, url: str) -> None:
        """See ``Collectors.check``."""
        check_url(url, self._dialer)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """See ``Collectors.post``."""
        self.check(url)
        return (await self._http.post(url, headers, body, ANSWER_SECONDS)).status

    async def close(self) -> None:
        """See ``Collectors.close``."""
        await self._http.close()


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
