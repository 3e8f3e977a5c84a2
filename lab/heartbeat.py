"""Renew a store's lease in the registry each second: the store refuses connections from the registry.

The program ends with the container's PID namespace. Environment: HEARTBEAT (URL), SERVICE_IP, SERVICE_PORT,
and if both have an IPv6 address, which is tried first: REGISTRY_IP6, SERVICE_IP6.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from urllib.parse import urlsplit

INTERVAL_SECONDS = 1.0
TIMEOUT_SECONDS = 1.0
IP6_TIMEOUT_SECONDS = 0.25


def listens(ip: str, port: int) -> bool:
    """Return whether the store accepts connections."""
    with suppress(OSError), socket.create_connection((ip, port), TIMEOUT_SECONDS):
        return True
    return False


def renew(url: str, ip: str, registry_ip6: str = "", seconds: float = TIMEOUT_SECONDS) -> bool:
    """Renew the lease from the store's own address, as the registry requires; return whether the registry answered."""
    parts, deadline = urlsplit(url), time.monotonic() + seconds
    request = (
        f"PUT {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    registry = (registry_ip6 or parts.hostname or "", parts.port or 80)
    with (
        suppress(OSError),
        socket.create_connection(registry, seconds, source_address=(ip, 0)) as connection,
    ):
        connection.sendall(request.encode())
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(4096):
                return True
    return False


def main() -> None:
    """Renew the lease while the store accepts connections."""
    url, ip, port = os.environ["HEARTBEAT"], os.environ["SERVICE_IP"], int(os.environ["SERVICE_PORT"])
    registry_ip6, ip6 = os.environ.get("REGISTRY_IP6"), os.environ.get("SERVICE_IP6")
    while True:
        if listens(ip, port) and not (
            registry_ip6 and ip6 and renew(url, ip6, registry_ip6, IP6_TIMEOUT_SECONDS)
        ):
            renew(url, ip)
        time.sleep(INTERVAL_SECONDS)


if __name__ == "__main__":
    main()
