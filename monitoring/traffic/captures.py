"""Several captures as one, in the order of their first packets: a rotated one goes on in another file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from monitoring.traffic.foreign import EmptyCaptureError
from monitoring.traffic.packets import UNKNOWN, AddressBook, Packets, Unread
from monitoring.traffic.source import STANDARD_INPUT, packets_of


@dataclass(frozen=True)
class Capture:
    """A capture, its packets in batches, and the time of its first one."""

    name: str
    packets: Iterator[Packets]
    first: int = UNKNOWN


def in_order(names: Sequence[str], book: AddressBook, unread: Unread) -> list[Capture]:
    """Give captures in their order. Raises OSError when one cannot be read."""
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
    """Read as far as the first packets. A file is read again later; what a pipe gave is kept, for it gives it once."""
    packets: Iterator[Packets] = packets_of(name, book, unread)
    if name != STANDARD_INPUT and Path(name).is_file():
        with closing(packets_of(name, AddressBook(), Unread())) as looked_at:
            first = next(looked_at, None)
    else:
        first = next(packets, None)
        packets = packets if first is None else chain([first], packets)
    return Capture(name, packets, UNKNOWN if first is None or not len(first) else int(first.time[0]))
