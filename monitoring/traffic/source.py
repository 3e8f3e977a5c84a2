"""Opens a capture, whatever it is: pcap, pcapng or tcpdump's text, gzipped or not, a file or standard input."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from monitoring.traffic import pcap, pcapng, records, text
from monitoring.traffic.decoder import Decoder
from monitoring.traffic.frames import Frames
from monitoring.traffic.packets import AddressBook, Packets, Unread
from monitoring.traffic.pcap import Pcap
from monitoring.traffic.pcapng import Pcapng
from monitoring.traffic.records import Stream

STANDARD_INPUT = "-"
_GZIP = b"\x1f\x8b"
_MAGIC = 4
_PEEK = 64


class Unpacked:
    """A gzipped stream that ends where it is damaged, and says so."""

    def __init__(self, raw: BinaryIO, unread: Unread) -> None:
        self._gzip, self._unread, self._given = gzip.GzipFile(fileobj=raw), unread, 0

    def read(self, size: int, /) -> bytes:
        """Give at most so many bytes."""
        try:
            data = self._gzip.read(size)
        except (EOFError, OSError, zlib.error) as error:
            self._unread.note(f"gzip: {error}", f"byte {self._given} of what it holds")
            return b""
        self._given += len(data)
        return data


def packets_of(name: str, book: AddressBook, unread: Unread) -> Iterator[Packets]:
    """Give a capture's packets in batches. Raises OSError when it cannot be opened."""
    with opened(name) as raw:
        yield from read(raw, book, unread)


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """Open a file, or standard input for "-"."""
    if name == STANDARD_INPUT:
        yield sys.stdin.buffer
    else:
        with Path(name).open("rb") as stream:
            yield stream


def read(raw: BinaryIO, book: AddressBook, unread: Unread) -> Iterator[Packets]:
    """Give a stream's packets in batches."""
    peeked = io.BufferedReader(cast(io.RawIOBase, raw), _PEEK) if not hasattr(raw, "peek") else raw
    stream: Stream = peeked
    if peeked.peek(len(_GZIP))[:2] == _GZIP:
        stream = Unpacked(peeked, unread)
    head = records.exactly(stream, _MAGIC)
    if head in pcap.MAGICS:
        head += records.exactly(stream, pcap.FILE_HEADER - _MAGIC)
        if len(head) < pcap.FILE_HEADER:
            unread.note("the capture ends within its file header", "byte 0")
            return
        yield from _decoded(records.read(stream, b"", len(head), Pcap(head), unread), book, unread)
    elif head == pcapng.MAGIC:
        yield from _decoded(records.read(stream, head, 0, Pcapng(), unread), book, unread)
    else:
        yield from text.read(stream, head, book, unread)


def _decoded(frames: Iterator[Frames], book: AddressBook, unread: Unread) -> Iterator[Packets]:
    decoder = Decoder(book, unread)
    for batch in frames:
        if len(batch.at):
            yield decoder.decode(batch)
