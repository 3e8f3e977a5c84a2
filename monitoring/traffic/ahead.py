"""Reads ahead: batches are made in one thread while another counts; numpy lets both run at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from monitoring.traffic.packets import Packets

_AHEAD = 2  # batches in memory beside the one that is counted


def ahead(batches: Iterator[Packets]) -> Iterator[Packets]:
    """Yield the same batches; an exception raised while making one is raised here."""
    made: queue.Queue[Packets | BaseException | None] = queue.Queue(_AHEAD)
    ended = threading.Event()

    def make() -> None:
        last: BaseException | None = None
        try:
            for batch in batches:
                if ended.is_set():
                    return
                made.put(batch)
        except BaseException as error:
            last = error
        made.put(last)

    threading.Thread(target=make, daemon=True).start()
    try:
        while (found := made.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            yield found
    finally:
        ended.set()
        while not made.empty():
            made.get_nowait()
