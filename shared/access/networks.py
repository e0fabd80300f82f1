"""The networks from which employees may work."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class StaffNetworks:
    """Says from which addresses employees may sign in and make requests.

    Attributes:
        networks: Where they are; none: anywhere, as far as this goes.
    """

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    def admit(self, address: str) -> bool:
        """Whether an employee may come from an address; from one that is not known only if all may."""
        if not self.networks:
            return True
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        # A socket for both protocols reports IPv4 clients like this (RFC 4291 section 2.5.5.2).
        found = getattr(found, "ipv4_mapped", None) or found
        return any(found in network for network in self.networks)


@lru_cache(maxsize=8)
def parse_staff_networks(text: str) -> StaffNetworks:
    """Networks in CIDR notation with commas between, such as ``203.0.113.0/28,2001:db8::/48``.

    Raises:
        ValueError: One is invalid, or has bits set beyond its prefix.
    """
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    return StaffNetworks(tuple(ipaddress.ip_network(part) for part in parts))
