"""tcpdump's text -> packets, in every timestamp style, with and without -e, -v, -q, -S, -X.

Where a size is not printed (-e or -v print it) it is worked out of what is; where that cannot be done, it is UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.traffic.packets import AddressBook, Packets, Unread
from monitoring.traffic.records import Stream
from monitoring.traffic.text_rows import Rows

_CHUNK = 4 << 20
_LONGEST_LINE = 4 << 20


def read(stream: Stream, head: bytes, book: AddressBook, unread: Unread) -> Iterator[Packets]:
    """Give the packets of a text."""
    rows = Rows(book, unread)
    data, line = head, 1
    while chunk := stream.read(_CHUNK):
        data += chunk
        cut = _cut(data)
        if cut:
            yield rows.packets(data[:cut], line)
            line += data.count(b"\n", 0, cut)
            data = data[cut:]
        elif len(data) > _LONGEST_LINE:
            unread.note("line longer than 4 megabytes", f"line {line}")
            data = (
                data[data.rfind(b"\n") + 1 :] if b"\n" in data else b"    "
            )  # the rest of it continues nothing
    if data:
        yield rows.packets(data if data.endswith(b"\n") else data + b"\n", line)


def _cut(data: bytes) -> int:
    """Find where to cut: after a line, and not between the two lines of one packet (-v)."""
    cut = data.rfind(b"\n", 0, max(data.rfind(b"\n"), 0)) + 1
    while cut and data.startswith(b"    ", cut):
        cut = data.rfind(b"\n", 0, cut - 1) + 1
    return cut
