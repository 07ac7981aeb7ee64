"""IP networks: read early and cheaply, tested with netaddr.

netaddr takes longer to import than most machines take to be matched, so it
is imported by the first test of an address and not before.
"""

import ipaddress
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any


def network(text: str) -> str | None:
    """A network in its regular form (``10.0.0.0/8``, ``fd00::/8``), or None.

    Host bits are allowed, as are a netmask for the length and a bare address.
    """
    if '%' in text:  # an address of one host's own link
        return None
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return None


def within(networks: Iterable[str]) -> Callable[[str], bool]:
    """A test whether a text is an address in one of the networks.

    What is no IPv4 or IPv6 address is in none.
    """
    cidrs = tuple(networks)
    read: tuple[Any, ...] = ()

    @lru_cache(maxsize=4096)
    def contains(text: str) -> bool:
        if '.' not in text and ':' not in text:
            return False
        from netaddr import AddrFormatError, IPAddress, IPNetwork

        # Whole or not at all: other threads ask too.
        nonlocal read
        read = read or tuple(map(IPNetwork, cidrs))
        try:
            address = IPAddress(text)
        except (AddrFormatError, ValueError, TypeError):
            return False
        return any(address in network for network in read)

    return contains
