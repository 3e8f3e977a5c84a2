"""Several captures read as one, in the order of their first packets, such as the files of a rotated capture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from lab.unread import Unread
from monitoring.traffic.foreign import EmptyCaptureError
from monitoring.traffic.packets import UNKNOWN, AddressBook, Packets
from monitoring.traffic.source import STANDARD_INPUT, packets_of


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
            captures.append(_begun(name, book, unread))
        except EmptyCaptureError:  # as tcpdump's newest one is until there is enough to write
            unread.note("empty capture", name)
    return sorted(captures, key=lambda capture: capture.first)


def _begun(name: str, book: AddressBook, unread: Unread) -> Capture:
    """Read the first packets, for their time. A file is opened again later; a pipe cannot be, so its batch is kept."""
    packets: Iterator[Packets] = packets_of(name, book, unread)
    if name != STANDARD_INPUT and Path(name).is_file():
        with closing(packets_of(name, AddressBook(), Unread())) as batches:
            first = next(batches, None)
    else:
        first = next(packets, None)
        packets = packets if first is None else chain([first], packets)
    return Capture(name, packets, UNKNOWN if first is None or not len(first) else int(first.time[0]))
