"""Copy between a shell and the WebSocket of the page that shows it, bounded in both directions.

Binary messages are what was typed, and what is printed. Text messages are JSON: from the page {"rows", "columns"} when
its size changes and {"taken": bytes} when it has shown what it got; to the page {"ended": exit status}, at the end.
"""

from __future__ import annotations

import json
import os
import select
import socket
import threading
from contextlib import suppress

from simple_websocket import ConnectionClosed, Server  # type: ignore[import-untyped] # it has no types
from wsproto.utilities import LocalProtocolError

from monitoring.dashboard.shells import Shell

MAX_TYPED = 1 << 20  # bytes that the program has not read yet
WINDOW = 1 << 16  # bytes sent that the page has not shown yet
_TICK_SECONDS = 1.0
# The library closes in its own thread: until it has reported that, sending raises LocalProtocolError.
_GONE = (ConnectionClosed, LocalProtocolError, OSError)
_INVALID = (ValueError, KeyError, TypeError, OverflowError, RecursionError)  # what a message may cause


class Session:
    """A shell and a WebSocket."""

    def __init__(self, page: Server, shell: Shell) -> None:
        self._page, self._shell = page, shell
        self._typed, self._not_shown = bytearray(), 0
        self._page_left = False
        self._lock, self._news = threading.Lock(), os.eventfd(0)

    def run(self) -> None:
        """Copy until the shell, the page or the dashboard ends; then end the shell."""
        receiver = threading.Thread(target=self._receive, daemon=True)
        receiver.start()
        try:
            with suppress(*_GONE):
                # Two threads send: this one, and the library's, which answers pings. No frame may be sent in two parts
                # with another between them, so the buffer has room for more than the window: no send blocks.
                # The kernel doubles the number.
                self._page.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * WINDOW)
                self._copy()
        finally:  # whatever happened, no shell stays
            status = self._shell.end()
            with suppress(*_GONE):
                self._page.send(json.dumps({"ended": status}))
                self._page.close()
            self._page_left = True
            receiver.join()
            os.close(self._news)

    # --- from the page ----------------------------------------------------------------------------------

    def _receive(self) -> None:
        try:
            with suppress(*_GONE, *_INVALID):
                while not self._page_left:
                    message = self._page.receive(timeout=_TICK_SECONDS)
                    if message is not None:
                        self._take(message)
                        os.eventfd_write(self._news, 1)
        finally:
            self._page_left = True
            os.eventfd_write(self._news, 1)

    def _take(self, message: bytes | str) -> None:
        """Keep what was typed, or do what the page asks. Raises ValueError, KeyError or TypeError if it cannot."""
        if isinstance(message, str):
            asked = json.loads(message)
            if "taken" in asked:
                with self._lock:
                    self._not_shown = max(0, self._not_shown - int(asked["taken"]))
            else:
                self._shell.resize(int(asked["rows"]), int(asked["columns"]))
            return
        with self._lock:
            if len(self._typed) + len(message) > MAX_TYPED:
                raise ValueError("the program does not read what is typed")
            self._typed += message

    # --- to the page ------------------------------------------------------------------------------------

    def _copy(self) -> None:
        """Copy until one side ends. Raises ConnectionClosed or OSError if the page is gone."""
        parent, terminal = os.getppid(), self._shell.terminal
        while not self._page_left and os.getppid() == parent:  # another parent: gunicorn was killed
            wanted = [self._news, self._shell.ended, *([terminal] if self._not_shown < WINDOW else [])]
            readable, writable, _ = select.select(
                wanted, [terminal] if self._typed else [], [], _TICK_SECONDS
            )
            if self._news in readable:
                os.eventfd_read(self._news)
            if writable:
                self._write()
            if terminal in readable and not self._print():
                return
            if self._shell.ended in readable:
                while self._not_shown < 2 * WINDOW and self._print():
                    pass
                return

    def _write(self) -> None:
        with self._lock, suppress(BlockingIOError):
            del self._typed[: self._shell.write(bytes(self._typed[:4096]))]

    def _print(self) -> bool:
        """Send what was printed; return whether there was anything."""
        data = self._shell.read()
        if data:
            with self._lock:
                self._not_shown += len(data)
            self._page.send(data)
        return bool(data)
