"""Tries one connection again and again, from inside a namespace, until standard input ends.

python -m tests.lab.flood NAMESPACE ADDRESS PORT    prints how often it was tried, how often it got through

Through is also to be refused: a refusal comes from the other side. A namespace that is not there yet, or not
any more, is no error.
"""

from __future__ import annotations

import errno
import select
import socket
import sys

from lab.namespace import inside

PATIENCE_SECONDS = 0.02
_REACHED = (0, errno.ECONNREFUSED, errno.ECONNRESET)


def gets_through(namespace: str, address: str, port: int) -> bool | None:
    """Try once; None when there is no such namespace, or no way to send."""
    try:
        with inside(namespace):
            attempt = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return None
    with attempt:
        attempt.setblocking(False)
        began = attempt.connect_ex((address, port))
        if began not in (0, errno.EINPROGRESS):
            return None
        select.select([], [attempt], [], PATIENCE_SECONDS)
        if attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED:
            return True
        return attempt.connect_ex((address, port)) in (*_REACHED, errno.EISCONN)


def main(namespace: str, address: str, port: str) -> None:
    """Go on until told to stop."""
    tried = through = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        outcome = gets_through(namespace, address, int(port))
        tried += outcome is not None
        through += bool(outcome)
    print(tried, through)


if __name__ == "__main__":
    main(*sys.argv[1:4])
