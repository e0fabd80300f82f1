"""What HTTP/1.1 has a server refuse in the head of a request, beyond what the parser refuses (RFC 9112)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from standalone.refusals import Refusal, bad_request

VERSIONS: Final = frozenset({"1.0", "1.1"})

# RFC 3986 section 3.2: an IP literal, or a name or an IPv4 address; and a port. An http URI's host is never
# empty (RFC 9110 section 4.2.1), and nobody's name is in front of it (section 4.2.4).
_HOST: Final = re.compile(
    rb"(\[[0-9A-Fa-f:.]+\]|([A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(:[0-9]*)?"
)


def framing_fault(version: str, headers: Iterable[tuple[bytes, bytes]]) -> Refusal | None:
    """What is wrong with a head; None: nothing.

    Args:
        version: As in the request line, such as ``1.1``.
        headers: Lower-case names and values, in the order in which they came.
    """
    hosts = []
    codings: list[bytes] | None = None
    for name, value in headers:
        if name == b"host":
            hosts.append(value.strip())
        elif name == b"transfer-encoding":
            # Lines of one name are one list (RFC 9110 section 5.3).
            codings = (codings or []) + [part.strip().lower() for part in value.split(b",")]
    if version not in VERSIONS:
        return Refusal(
            505,
            "unsupported-version",
            "The server does not speak this version of HTTP",
            "Send the request in HTTP/1.1.",
        )
    return _host_fault(version, hosts) or _coding_fault(version, codings)


def _host_fault(version: str, hosts: list[bytes]) -> Refusal | None:
    """RFC 9112 section 3.2."""
    if len(hosts) > 1 or (version == "1.1" and not hosts):
        return bad_request("Send one Host header.")
    if hosts and not _HOST.fullmatch(hosts[0]):
        return bad_request("Host is not valid: send the name or the IP address, and the port.")
    return None


def _coding_fault(version: str, codings: list[bytes] | None) -> Refusal | None:
    """RFC 9112 sections 6.1 and 7.1. Who reads a coding otherwise than we do ends the body elsewhere."""
    if codings is None:
        return None
    if version == "1.0":
        return bad_request("HTTP/1.0 has no Transfer-Encoding: send Content-Length, or HTTP/1.1.")
    if codings.count(b"chunked") != 1 or codings[-1] != b"chunked":
        return bad_request("Transfer-Encoding must end with chunked, which must be there once.")
    if len(codings) > 1:
        return Refusal(
            501,
            "unsupported-transfer-coding",
            "The server does not know this transfer coding",
            "Send the body with Transfer-Encoding: chunked alone, or with Content-Length.",
        )
    return None
