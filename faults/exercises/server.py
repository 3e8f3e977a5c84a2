"""Answer the commands of an exercise's shell on a unix socket, one at a time.

A request is one line of JSON: command, arguments, width, terminal, colour. An answer is lines of JSON: {"text": ...} to
print, and {"status": ...} at the end.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from lab.terminal import Console

_TICK_SECONDS = 0.5
_MAX_REQUEST = 1 << 16


@dataclass
class Client:
    """The terminal that asks; it may go away at any time."""

    stream: socket.socket
    width: int = 120
    terminal: bool = False
    colour: bool = False
    json: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, **answer: object) -> None:
        """Send a part of the answer."""
        with suppress(OSError), self._lock:
            self.stream.sendall(json.dumps(answer).encode() + b"\n")

    def console(self) -> Console:
        """Return a console that collects what `show` sends."""
        return Console(file=StringIO(), width=self.width, force_terminal=self.colour, color_system="standard")

    def show(self, console: Console) -> None:
        """Send what was printed on a console."""
        assert isinstance(console.file, StringIO)  # noqa: S101 - see console
        self.send(text=console.file.getvalue())

    def progress(self, text: str) -> Progress:
        """Show a text and the seconds while something takes time."""
        return Progress(self, text)


class Progress:
    """A line with the seconds so far, erased at the end. Nothing is shown if the output is no terminal."""

    def __init__(self, client: Client, text: str) -> None:
        self._client, self._text = client, text
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        if self._client.terminal and not self._client.json:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
            self._client.send(text="\r\x1b[K")

    def _run(self) -> None:
        begin = time.monotonic()
        while True:
            self._client.send(text=f"\r{self._text} {time.monotonic() - begin:.0f} s ")
            if self._ended.wait(_TICK_SECONDS):
                return


Answer = Callable[[str, Client], int]  # command, client -> exit status


class Server:
    """The socket and the thread that answers on it."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self._answer = answer
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            stream, _ = self._listener.accept()
            with suppress(OSError, ValueError, KeyError, TypeError), stream:
                self._serve(stream)

    def _serve(self, stream: socket.socket) -> None:
        stream.settimeout(5)
        with stream.makefile("rb") as lines:
            request = json.loads(lines.readline(_MAX_REQUEST))
        client = Client(
            stream,
            width=int(request["width"]),
            terminal=bool(request["terminal"]),
            colour=bool(request["colour"]),
            json="--json" in request["arguments"],
        )
        unknown = [word for word in request["arguments"] if word != "--json"]
        if unknown:
            client.send(text=f"{request['command']}: unknown option {unknown[0]}; the only one is --json\n")
            client.send(status=2)
            return
        try:
            status = self._answer(str(request["command"]), client)
        except Exception as error:  # or this thread ends, and no further command is answered
            client.send(text=f"{request['command']} failed: {type(error).__name__}: {error}\n")
            status = 1
        client.send(status=status)
