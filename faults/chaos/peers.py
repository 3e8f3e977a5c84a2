"""A hostile peer in place of an instance: it keeps the instance's lease, but its answers are late or never end.

    python -m faults.chaos.peers MODE IP PORT REGISTRY_URL NAME INSTANCE_ID

MODE  slow      /health at once, everything else after 2 s
      dripping  a header without an end, one byte each 0.3 s; /health has good answers for the first 2 s, so that
                the registry sends clients
      endless   a body without an end, about 100 MB/s
"""

import http.client
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

ANSWER_SECONDS, DRIP_SECONDS, HEARTBEAT_SECONDS = 2.0, 0.3, 1.0
HEALTHY_SECONDS = 2.0  # the dripping peer answers health checks this long
BEGIN = time.monotonic()
BLOCK = b"x" * 1_000_000
BLOCK_SECONDS = 0.01
TTL_SECONDS = 3
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
EMPTY = b"Content-Length: 2\r\n\r\n{}"


def is_health_check(request: bytes) -> bool:
    """Return whether the request is a health check."""
    return request.startswith(b"GET /health ")


def answer_slowly(connection: socket.socket, request: bytes) -> None:
    """Answer a health check at once, anything else late."""
    if not is_health_check(request):
        time.sleep(ANSWER_SECONDS)
    connection.sendall(HEAD + EMPTY)


def drip(connection: socket.socket, request: bytes) -> None:
    """Send a header that never ends; answer health checks at first."""
    if is_health_check(request) and time.monotonic() - BEGIN < HEALTHY_SECONDS:
        connection.sendall(HEAD + EMPTY)
        return
    connection.sendall(HEAD + b"X-Slow: ")
    while True:
        connection.sendall(b"a")
        time.sleep(DRIP_SECONDS)


def flood(connection: socket.socket, _request: bytes) -> None:
    """Send a body that never ends."""
    connection.sendall(HEAD + b"\r\n")
    while True:
        connection.sendall(BLOCK)
        time.sleep(BLOCK_SECONDS)


MODES: dict[str, Callable[[socket.socket, bytes], None]] = {
    "slow": answer_slowly,
    "dripping": drip,
    "endless": flood,
}


def serve(connection: socket.socket, answer: Callable[[socket.socket, bytes], None]) -> None:
    """Answer one request; the client may disconnect."""
    with suppress(OSError), connection:
        answer(connection, connection.recv(4096))


def request_registry(url: str, ip: str, method: str, path: str, body: object = None) -> int | None:
    """Send a request to the registry from the instance's own address; return its status, None without one."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=1, source_address=(ip, 0))
    try:
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def keep_lease(ip: str, port: int, url: str, name: str, instance_id: str) -> None:
    """Renew the lease each second; register when there is none."""
    instance = {"name": name, "ip": ip, "port": port, "instance_id": instance_id, "ttl": TTL_SECONDS}
    while True:
        if request_registry(url, ip, "PUT", f"/heartbeat/{name}/{instance_id}") == http.client.NOT_FOUND:
            request_registry(url, ip, "POST", "/register", instance)
        time.sleep(HEARTBEAT_SECONDS)


def main() -> None:
    """Serve for ever."""
    mode, ip, port, *registration = sys.argv[1:]
    listener = socket.create_server((ip, int(port)), backlog=200)
    threading.Thread(target=keep_lease, args=(ip, int(port), *registration), daemon=True).start()
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, MODES[mode]), daemon=True).start()


if __name__ == "__main__":
    main()
