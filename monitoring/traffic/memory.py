"""Caches for repeated words of a text: addresses, ports, flags, seconds."""

from __future__ import annotations

import socket
import zlib
from collections.abc import Callable
from ipaddress import IPv6Address

from lab.unread import Unread
from monitoring.traffic.packets import AddressBook

PORT_BITS, PORT = 16, 0xFFFF
_MAX_ENTRIES = 1 << 17


class Memory(dict[bytes, int]):
    """A cache of make(token); it is cleared when it has _MAX_ENTRIES entries."""

    def __init__(self, make: Callable[[bytes], int]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, token: bytes) -> int:
        if len(self) >= _MAX_ENTRIES:
            self.clear()
        value = self[token] = self._make(token)
        return value


class Ends(Memory):
    """A cache of `address.port`, with or without a colon at the end: the address' number, then 16 bits of port."""

    def __init__(self, book: AddressBook, unread: Unread) -> None:
        super().__init__(self._end)
        self._unread = unread
        self.addresses = Memory(lambda token: book.number(_address(token)))
        self._services = Memory(_service)

    def _end(self, token: bytes) -> int:
        address, _, port = token.removesuffix(b":").rpartition(b".")
        if not port.isdigit():
            number = self._services[port]
        elif (number := int(port[:9])) > PORT:
            self._unread.note("port over 65535", f"port {port[:20].decode()}")
            number = 0
        return self.addresses[address] << PORT_BITS | number


def _address(token: bytes) -> str:
    """Return an address, IPv6 in its canonical form, or a host name."""
    name = token.decode("ascii", "backslashreplace")
    if name.count(":") < 2:  # noqa: PLR2004 - no IPv6
        return name
    try:
        return str(IPv6Address(name))
    except ValueError:
        return name


def service_port(name: bytes) -> int | None:
    """Return a service's port in /etc/services, whose names tcpdump prints without -n; None for an unknown name."""
    try:
        return socket.getservbyname(name.decode("ascii"))
    except (OSError, ValueError):
        return None


def _service(name: bytes) -> int:
    """Return a service's port; for an unknown name a number derived from the name, not always unique."""
    port = service_port(name)
    return zlib.crc32(name) & PORT if port is None else port
