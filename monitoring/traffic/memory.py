"""What a text says again and again, remembered: addresses, ports, flags."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from monitoring.traffic.packets import AddressBook

PORT_BITS, PORT = 16, 0xFFFF
_MOST = 1 << 17


class Memory(dict[bytes, int]):
    """Remembers what was made of a token; forgets all when it is too much."""

    def __init__(self, make: Callable[[bytes], int]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, token: bytes) -> int:
        if len(self) >= _MOST:
            self.clear()
        value = self[token] = self._make(token)
        return value


class Ends(Memory):
    """Numbers of `address.port`, with or without the colon that ends a destination: address, then 16 bits of port."""

    def __init__(self, book: AddressBook) -> None:
        super().__init__(self._end)
        self.addresses = Memory(
            lambda token: book.number(token.rstrip(b":").decode("ascii", "backslashreplace"))
        )

    def _end(self, token: bytes) -> int:
        address, _, port = token.rstrip(b":").rpartition(b".")
        # A port's name has some number of its own.
        number = int(port[:9]) & PORT if port.isdigit() else zlib.crc32(port) & PORT
        return self.addresses[address] << PORT_BITS | number
