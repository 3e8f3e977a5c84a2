"""A client of the terminal of the dashboard's page, for the tests that talk to the server itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from simple_websocket import Client  # type: ignore[import-untyped] # it has no types

URL = os.environ.get("TERMINAL_URL", "")  # as the dashboard prints it
BASE, _, TOKEN = URL.partition("/#token=")
HOST = urlsplit(BASE).netloc

WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": f"cnet-terminal, token.{TOKEN}",
    "Origin": BASE,
}


def shells() -> list[int]:
    """Return the processes on a terminal, with those in namespaces: the tests have none."""
    listed = subprocess.run(["ps", "-eo", "pid=,tty="], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if line.split()[1].startswith("pts/")]


def wait_until(fact: Callable[[], object], seconds: float = 6) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Shell:
    """A client that shows nothing: it takes what is printed, and says so."""

    def __init__(self, client: Client) -> None:
        self.client, self.printed = client, b""
        self.ended: int | None = None

    def type(self, text: str) -> None:
        self.client.send(text.encode())

    def read_until(self, pattern: str) -> str:
        deadline = time.monotonic() + 10
        while not re.search(pattern, text := self.text()):
            assert time.monotonic() < deadline, text[-2000:]
            message = self.client.receive(timeout=0.2)
            if isinstance(message, bytes):
                self.printed += message
                self.client.send(json.dumps({"taken": len(message)}))
            elif message:
                self.ended = json.loads(message)["ended"]
        return text

    def text(self) -> str:
        """Return what was printed, without colours and the like."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.printed.decode(errors="replace")).replace("\r", "")


def connect(place: str) -> Client:
    return Client.connect(
        f"ws://{HOST}/terminal/shell/{place}",
        subprotocols=["cnet-terminal", f"token.{TOKEN}"],
        headers={"Origin": f"http://{urlsplit(BASE).hostname}"},  # this client sends Host without the port
    )


@contextmanager
def shell_in(place: str = "host") -> Iterator[Shell]:
    client = connect(place)
    try:
        yield Shell(client)
    finally:
        if client.connected:
            client.close()
        wait_until(lambda: shells() == [])
