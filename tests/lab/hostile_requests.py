"""Sends requests as no client sends them, and holds each answer to JSON with the right status.

python -m tests.lab.hostile_requests ADDRESS PORT    a line for each; 1 when an answer is wrong
"""

from __future__ import annotations

import json
import socket
import sys

DEADLINE_SECONDS = 8.0
LONG = b"a" * 5000
HOST = b"Host: shop\r\n"
GET = b"GET /api/products HTTP/1.1\r\n" + HOST
POST = b"POST /api/orders HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"

# TITLE, REQUEST, the statuses that are right.
REQUESTS: list[tuple[str, bytes, tuple[int, ...]]] = [
    ("no HTTP at all", b"\x00\x01\x02\r\n\r\n", (400,)),
    (
        "TLS to a port without it",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n",
        (400,),
    ),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 405, 505)),
    ("lower-case method", b"get / HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    ("unknown method", b"BREW /api/products HTTP/1.1\r\n" + HOST + b"\r\n", (405,)),
    ("TRACE", b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", (405,)),
    ("CONNECT", b"CONNECT shop:80 HTTP/1.1\r\n" + HOST + b"\r\n", (400, 405)),
    ("OPTIONS *", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", (400, 404, 405)),
    ("HTTP/2.0", b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", (505,)),
    ("HTTP/9.9", b"GET / HTTP/9.9\r\n" + HOST + b"\r\n", (505,)),
    ("HTTP/x", b"GET / HTTP/x\r\n" + HOST + b"\r\n", (400,)),
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", (400,)),
    ("two Hosts", GET + b"Host: other\r\n\r\n", (400,)),
    ("malformed Host", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", (400,)),
    ("header without a colon", GET + b"nonsense\r\n\r\n", (200, 400)),
    ("NUL in a header", GET + b"X-A: a\0b\r\n\r\n", (400,)),
    ("NUL in the path", b"GET /a%00b HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    ("path above the root", b"GET /../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    ("broken percent sign", b"GET /%zz HTTP/1.1\r\n" + HOST + b"\r\n", (400,)),
    ("long URI", b"GET /" + LONG + b" HTTP/1.1\r\n" + HOST + b"\r\n", (414,)),
    ("long header", GET + b"X-A: " + LONG + b"\r\n\r\n", (431,)),
    ("many headers", GET + b"".join(b"X-%d: %s\r\n" % (n, b"b" * 900) for n in range(40)) + b"\r\n", (431,)),
    ("unknown transfer encoding", POST + b"Transfer-Encoding: gzip\r\n\r\n", (501,)),
    (
        "transfer encoding and length",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        (400,),
    ),
    ("two transfer encodings", POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n", (400, 501)),
    ("chunk size that is none", POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n\r\n", (400,)),
    ("chunk too large", POST + b"Transfer-Encoding: chunked\r\n\r\n11170\r\n" + b" " * 70000, (413,)),
    ("two lengths", POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", (400,)),
    ("negative length", POST + b"Content-Length: -1\r\n\r\n", (400,)),
    ("length that is no number", POST + b"Content-Length: 1e3\r\n\r\n", (400,)),
    ("length beyond 64 bits", POST + b"Content-Length: 99999999999999999999\r\n\r\n", (400, 413)),
    ("length over the limit", POST + b"Content-Length: 70000\r\n\r\n", (413,)),
    ("unknown expectation", POST + b"Expect: nonsense\r\nContent-Length: 2\r\n\r\n{}", (400, 417)),
    ("upgrade to h2c", GET + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n", (200,)),
    ("range", GET + b"Range: bytes=9-1\r\n\r\n", (200,)),
    ("If-Match", GET + b'If-Match: "x"\r\n\r\n', (200,)),
    ("nowhere", b"GET /.error/503 HTTP/1.1\r\n" + HOST + b"\r\n", (404,)),
    ("health, for comparison", b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n", (200,)),
]


def ask(address: tuple[str, int], request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send it and read one answer: status, headers, body."""
    with socket.create_connection(address, DEADLINE_SECONDS) as connection:
        connection.sendall(request)
        answer = connection.makefile("rb")
        status = int(answer.readline().split()[1])
        headers = {}
        while line := answer.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, answer.read(int(headers["content-length"]))


def fault_of(title: str, status: int, headers: dict[str, str], body: bytes, wanted: tuple[int, ...]) -> str:
    """Return what is wrong with an answer; nothing when all is right."""
    if status not in wanted:
        return f"status {status}, wanted {wanted}"
    if title.startswith("health"):
        return "" if (headers["content-type"], body) == ("text/plain", b"OK\n") else f"says {body!r}"
    if not headers.get("content-type", "").startswith("application/json"):
        return f"status {status} is {headers.get('content-type')}"
    if status >= 400 and "error" not in json.loads(body):
        return f"status {status} has no error"
    if status in (429, 503) and "retry-after" not in headers:
        return f"status {status} without Retry-After"
    return ""


def main(address: str, port: str) -> int:
    """Ask all of them; return 1 when an answer was wrong."""
    failed = 0
    for title, request, wanted in REQUESTS:
        try:
            fault = fault_of(title, *ask((address, int(port)), request), wanted)
        except (OSError, ValueError, IndexError, KeyError) as error:
            fault = f"no proper answer: {error!r}"
        print(f"{'FAIL' if fault else 'ok'}  {title}  {fault}")
        failed |= bool(fault)
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
