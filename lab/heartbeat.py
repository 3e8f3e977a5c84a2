"""Renew a store's lease in the registry each second: the store refuses connections from the registry.

The program ends with the container's PID namespace. Environment: HEARTBEAT (URL), SERVICE_IP, SERVICE_PORT
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from urllib.parse import urlsplit

INTERVAL_SECONDS = 1.0
TIMEOUT_SECONDS = 1.0


def listens(ip: str, port: int) -> bool:
    """Return whether the store accepts connections."""
    with suppress(OSError), socket.create_connection((ip, port), TIMEOUT_SECONDS):
        return True
    return False


def renew(url: str, ip: str) -> None:
    """Renew the lease from the store's own address, as the registry requires; if the registry is down, do nothing."""
    parts, deadline = urlsplit(url), time.monotonic() + TIMEOUT_SECONDS
    request = (
        f"PUT {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    registry = (parts.hostname or "", parts.port or 80)
    with (
        suppress(OSError),
        socket.create_connection(registry, TIMEOUT_SECONDS, source_address=(ip, 0)) as connection,
    ):
        connection.sendall(request.encode())
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(4096):
                break


def main() -> None:
    """Renew the lease while the store accepts connections."""
    ip, port = os.environ["SERVICE_IP"], int(os.environ["SERVICE_PORT"])
    while True:
        if listens(ip, port):
            renew(os.environ["HEARTBEAT"], ip)
        time.sleep(INTERVAL_SECONDS)


if __name__ == "__main__":
    main()
