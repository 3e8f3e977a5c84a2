"""Opens connections that begin a request and never finish it, and holds them until standard input ends.

python -m tests.lab.half_open NAMESPACE SOURCE ADDRESS PORT COUNT [slow-post]
prints how many connections the server still holds a second later; with slow-post, how many got which status.
"""

from __future__ import annotations

import collections
import contextlib
import resource
import socket
import sys
import time

from lab.namespace import inside

HEADER = b"GET /api/products HTTP/1.1\r\nHost: shop\r\nX-Slow: "
POST = (
    b"POST /api/orders HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
    b"Content-Length: 90\r\n\r\n{"
)
PATIENCE_SECONDS = 1.0


def open_one(source: str, address: tuple[str, int], text: bytes) -> socket.socket | None:
    """Begin a request; None where the connection is refused or reset."""
    attempt = socket.socket()
    try:
        attempt.settimeout(PATIENCE_SECONDS)
        attempt.bind((source, 0))
        attempt.connect(address)
        attempt.sendall(text)
    except OSError:
        attempt.close()
        return None
    attempt.setblocking(False)
    return attempt


def status_of(connection: socket.socket) -> str:
    """Return what the server said of it: a status, closed, or held."""
    try:
        return connection.recv(4096)[9:12].decode() or "closed"
    except BlockingIOError:
        return "held"
    except OSError:
        return "closed"


def main(namespace: str, source: str, address: str, port: str, *count: str) -> None:
    """Open them, print what became of them, hold them."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    text = POST if "slow-post" in count else HEADER
    with inside(namespace):
        opened = [open_one(source, (address, int(port)), text) for _ in range(int(count[0]))]
    time.sleep(PATIENCE_SECONDS)
    counts = collections.Counter(status_of(each) if each else "refused" for each in opened)
    print(" ".join(f"{status}={number}" for status, number in sorted(counts.items())), flush=True)
    sys.stdin.read()
    for each in opened:
        with contextlib.suppress(OSError):
            if each:
                each.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
