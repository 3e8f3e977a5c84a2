"""Opens captures: pcap, pcapng or tcpdump's text, compressed or not, from a file, a pipe or standard input."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lab.unread import Unread
from monitoring.traffic import foreign, pcap, pcapng, records, text
from monitoring.traffic.decoder import Decoder
from monitoring.traffic.frames import Frames
from monitoring.traffic.packets import AddressBook, Packets
from monitoring.traffic.pcap import Pcap
from monitoring.traffic.pcapng import Pcapng
from monitoring.traffic.records import Stream
from monitoring.traffic.unpacked import unpacked

STANDARD_INPUT = "-"
_MAGIC = 4  # bytes


def packets_of(name: str, book: AddressBook, unread: Unread) -> Generator[Packets]:
    """Yield a capture's packets in batches. Raises OSError, with its name, when it cannot be read."""
    with _named(name), opened(name) as raw:
        yield from read(raw, book, unread)


def check(name: str) -> None:
    """Raise OSError, with its name, for a capture that cannot be opened. Pipes are left: they can be opened once."""
    path = Path(name)
    if name == STANDARD_INPUT or (path.exists() and not path.is_file() and not path.is_dir()):
        return
    with _named(name), opened(name):
        pass


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Give an OSError its file's name."""
    try:
        yield
    except OSError as error:
        if not error.filename:
            error.filename, error.strerror = name or "''", error.strerror or str(error)
        raise


@contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """Open a file, or standard input for "-"."""
    if name == STANDARD_INPUT:
        if sys.stdin is None:  # as Python has it where it is closed
            raise foreign.NotACaptureError("standard input is closed")
        yield sys.stdin.buffer
    elif not name:
        raise foreign.NotACaptureError("an empty name names no file")
    elif Path(name).is_dir():
        raise foreign.NotACaptureError("this is a folder; give the captures in it")
    else:
        with Path(name).open("rb") as stream:
            yield stream


def read(raw: Stream, book: AddressBook, unread: Unread) -> Iterator[Packets]:
    """Yield a stream's packets in batches. Raises NotACaptureError, an OSError, when it is no capture."""
    stream, head = raw, records.exactly(raw, foreign.HEAD)
    if inner := unpacked(raw, head, unread):
        stream, head = inner, records.exactly(inner, foreign.HEAD)
        if inner.broken and not head:
            return
    if head[:_MAGIC] in pcap.MAGICS:
        header, rest = head[: pcap.FILE_HEADER], head[pcap.FILE_HEADER :]
        if len(header) < pcap.FILE_HEADER:
            unread.note("the capture ends within its file header", "byte 0")
            return
        yield from _decoded(records.read(stream, rest, len(header), Pcap(header), unread), book, unread)
    elif head[:_MAGIC] == pcapng.MAGIC:
        yield from _decoded(records.read(stream, head, 0, Pcapng(), unread), book, unread)
    else:
        foreign.refuse(head)
        yield from text.read(stream, head, book, unread)


def _decoded(frames: Iterator[Frames], book: AddressBook, unread: Unread) -> Iterator[Packets]:
    decoder = Decoder(book, unread)
    for batch in frames:
        if len(batch.at):
            yield decoder.decode(batch)
