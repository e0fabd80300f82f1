"""The network address of a client, as the peer or a trusted proxy reports it."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from fastapi import Request


def client_address(request: Request, trusted_proxies: int, header: str) -> str:
    """Return the client's IP address; empty where it is not known.

    Args:
        request: The request.
        trusted_proxies: How many proxies of the operator's stand in front of this server.
        header: The header to which each of them appends the address that it sees.
    """
    peer = request.client.host if request.client else ""
    if trusted_proxies:
        # Lines of one name are one list (RFC 9110 section 5.3), and ours are the last of it.
        hops = [hop.strip() for hop in ",".join(request.headers.getlist(header)).split(",")]
        if len(hops) >= trusted_proxies:
            peer = hops[-trusted_proxies]
    return _canonical(peer)


@lru_cache(maxsize=1_024)
def _canonical(peer: str) -> str:
    """An address as it is written everywhere, without a port; empty where the text is none."""
    # Azure appends the port: 203.0.113.7:50123 or [2001:db8::7]:50123.
    for host in (peer, peer.rpartition(":")[0].strip("[]")):
        try:
            # The zone after % may be any text.
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            continue
        return str(getattr(address, "ipv4_mapped", None) or address)
    return ""


def network_of(address: str) -> str:
    """Return what stands for a client in limits by address: its IPv6 network, or the address itself.

    An IPv6 client has a whole /64 to choose its address from.
    """
    if ":" in address:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    return address
