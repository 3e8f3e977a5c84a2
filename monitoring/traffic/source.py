"""Open captures: pcap, pcapng or tcpdump's text, compressed or not, from files, pipes or standard input.

Several captures are read as one, in the order of their first packets, such as the files of a rotated capture.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from lab.unread import Unread
from monitoring.traffic import foreign, frames, pcap, pcapng, text
from monitoring.traffic.decoder import Decoder
from monitoring.traffic.packets import UNKNOWN, AddressBook, Packets
from monitoring.traffic.unpacked import unpacked

STANDARD_INPUT = "-"
_MAGIC = 4  # bytes of the magic number
_BATCHES_AHEAD = 2  # batches read ahead of the current one


@dataclass(frozen=True)
class Capture:
    """A capture, its packets in batches, and the time of its first packet in nanoseconds, or UNKNOWN."""

    name: str
    packets: Iterator[Packets]
    first: int = UNKNOWN


def in_order(names: Sequence[str], book: AddressBook, unread: Unread) -> list[Capture]:
    """Return captures sorted by the time of their first packet. Raises OSError when one cannot be read."""
    if len(names) == 1:
        return [Capture(names[0], packets_of(names[0], book, unread))]
    captures = []
    for name in names:
        try:
            captures.append(_opened_capture(name, book, unread))
        except foreign.EmptyCaptureError:  # tcpdump's newest file is empty until the first write
            unread.note("empty capture", name)
    return sorted(captures, key=lambda capture: capture.first)


def _opened_capture(name: str, book: AddressBook, unread: Unread) -> Capture:
    """Read the first batch, for its time. A file is opened again later; a pipe cannot be, so its batch is kept."""
    packets: Iterator[Packets] = packets_of(name, book, unread)
    if name != STANDARD_INPUT and Path(name).is_file():
        with closing(packets_of(name, AddressBook(), Unread())) as batches:
            first = next(batches, None)
    else:
        first = next(packets, None)
        packets = packets if first is None else chain([first], packets)
    return Capture(name, packets, UNKNOWN if first is None or not len(first) else int(first.time[0]))


def read_ahead(batches: Iterator[Packets]) -> Iterator[Packets]:
    """Yield the same batches, made in a thread while the caller counts; numpy lets both run at once."""
    made: queue.Queue[Packets | BaseException | None] = queue.Queue(_BATCHES_AHEAD)

    def make() -> None:
        try:
            for batch in batches:
                made.put(batch)
            made.put(None)
        except BaseException as error:
            made.put(error)

    threading.Thread(target=make, daemon=True).start()
    while (batch := made.get()) is not None:
        if isinstance(batch, BaseException):
            raise batch
        yield batch


def packets_of(name: str, book: AddressBook, unread: Unread) -> Generator[Packets]:
    """Yield a capture's packets in batches. Raises OSError, with the capture's name, if it cannot be read."""
    with _opened(name) as raw:
        yield from read(raw, book, unread)


def check(name: str) -> None:
    """Raise OSError, with its name, for a capture that cannot be opened. Skip pipes: they can be opened once."""
    path = Path(name)
    if name == STANDARD_INPUT or (path.exists() and not path.is_file() and not path.is_dir()):
        return
    with _opened(name):
        pass


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    """Open a file, or standard input for "-"; an OSError gets the name of the file."""
    try:
        if name == STANDARD_INPUT:
            if sys.stdin is None:  # Python sets stdin to None if it is closed
                raise foreign.NotACaptureError("standard input is closed")
            yield sys.stdin.buffer
        elif not name:
            raise foreign.NotACaptureError("the file name is empty")
        elif Path(name).is_dir():
            raise foreign.NotACaptureError("this is a folder; give the captures in it")
        else:
            with Path(name).open("rb") as stream:
                yield stream
    except OSError as error:
        if not error.filename:
            error.filename, error.strerror = name or "''", error.strerror or str(error)
        raise


def read(raw: BinaryIO, book: AddressBook, unread: Unread) -> Iterator[Packets]:
    """Yield a stream's packets in batches. Raises NotACaptureError, an OSError, when it is no capture."""
    head = frames.first_bytes(iter(partial(raw.read, foreign.HEAD), b""), foreign.HEAD)
    pieces = chain([head], iter(partial(raw.read, frames.BLOCK_BYTES), b""))
    noted = unread.counts.total()
    if inner := unpacked(pieces, head, unread):
        head = frames.first_bytes(inner, foreign.HEAD)
        pieces = chain([head], inner)
        if not head and unread.counts.total() > noted:  # damaged before the first unpacked byte
            return
    if head[:_MAGIC] in pcap.MAGICS:
        if len(head) < pcap.FILE_HEADER:
            unread.note("the capture ends within its file header", "byte 0")
            return
        batches = pcap.read(pieces, unread)
    elif head[:_MAGIC] == pcapng.MAGIC:
        batches = frames.read(pieces, 0, pcapng.Pcapng(), unread)
    else:
        foreign.refuse(head[: foreign.HEAD])
        yield from text.read(pieces, book, unread)
        return
    decoder = Decoder(book, unread)
    yield from (decoder.decode(batch) for batch in batches if len(batch.at))
