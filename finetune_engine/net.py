"""Which addresses a request may go to: the one rule for everything that people type into the site.

A name is looked up once, every address it stands for is checked, and the caller connects to the address it gets back, so
that no later answer of the name service can lead it elsewhere.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class HostUnknown(Exception):
    """The name service knows no such host."""


class HostPrivate(Exception):
    """The host is on a private network, and the operator has not allowed it."""


def checked_address(host: str, port: int, allowed: Iterable[str]) -> Address:
    """The address to connect to for ``host``: public, or allowed by the operator as ``host`` or ``host:port``.

    Raises HostUnknown and HostPrivate.
    """
    found = looked_up(host, port)
    if not is_allowed(host, port, allowed) and not all(is_public(address) for address in found):
        raise HostPrivate(host)
    return found[0]


def looked_up(host: str, port: int) -> list[Address]:
    """All addresses that ``host`` stands for, IPv4 first. Raises HostUnknown."""
    try:
        answers = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        found = [ipaddress.ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers]
    except (OSError, UnicodeError, ValueError):
        found = []
    if not found:
        raise HostUnknown(host)
    return sorted(set(found), key=lambda address: (address.version, int(address)))


def is_allowed(host: str, port: int, allowed: Iterable[str]) -> bool:
    """Whether the operator's list names the host, or the host with this port."""
    names = {entry.strip().lower() for entry in allowed}
    return bool(names & {host.lower(), f"{host.lower()}:{port}"})


def is_public(address: Address) -> bool:
    """Whether an address, and the IPv4 address that it may carry inside, belongs to the open internet."""
    inner: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_site_local:  # the old private range fec0::/10, which ``is_global`` does not know
            return False
        inner += [one for one in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())) if one is not None]
        if address in _NAT64 or int(address) < 2**32:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return all(
        one.is_global
        and not (one.is_multicast or one.is_reserved or one.is_loopback or one.is_link_local or one.is_unspecified)
        for one in inner
    )
