"""Which hosts a target may be at: names and addresses of the public internet, nothing of ours.

A tenant writes the name of a host, and whoever owns that name decides what it resolves to. So a name
says nothing, and each address that it resolves to is looked at right before it is connected to.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

HTTPS_PORT: Final = 443

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)+(?![0-9])(?!0x){_LABEL}", re.IGNORECASE)
"""At least two labels. The last one is no number: ``127.1``, ``0x7f.1`` and ``017700000001`` are what
some resolvers take for addresses."""

_MAX_NAME: Final = 253

_NEVER: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's own: DNS, agents and keys of the machine
        "192.0.0.0/24",  # protocol assignments; a metadata service of another cloud is there
        "192.88.99.0/24",  # relays of 6to4
        "2001::/23",  # protocol assignments; Teredo, which carries an IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4, which carries an IPv4 address
        "3fff::/20",  # documentation
    )
)
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All that is assigned of IPv6. What maps or translates IPv4 (``::ffff:0:0/96``, ``64:ff9b::/96``) lies
outside."""


def is_public(address: IPAddress) -> bool:
    """Whether an address is one of the public internet that stands for nothing but itself."""
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    return not any(address in network for network in _NEVER if network.version == address.version)


def parse_address(host: str) -> IPAddress | None:
    """The address that a host is, in its one usual form; None: it is a name, or nothing."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_name(host: str) -> bool:
    """Whether a host is a full name of DNS, which nothing takes for an address."""
    return len(host) <= _MAX_NAME and _NAME.fullmatch(host) is not None
