"""Answers every HTTP request without an end: a header byte by byte, or a body.

slow_peer.py drip|endless ADDRESS PORT
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import suppress


def serve(connection: socket.socket, mode: str) -> None:
    drips = mode != "endless"
    with suppress(OSError), connection:
        if connection.recv(4096).startswith(b"GET /health ") and mode == "healthy":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            return
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + (b"X-Slow: " if drips else b"\r\n"))
        while True:
            connection.sendall(b"a" if drips else b"a" * 65536)
            time.sleep(0.3 if drips else 0.01)


if __name__ == "__main__":
    listener = socket.create_server((sys.argv[2], int(sys.argv[3])), backlog=100)
    while True:
        accepted, _ = listener.accept()
        threading.Thread(target=serve, args=(accepted, sys.argv[1]), daemon=True).start()
