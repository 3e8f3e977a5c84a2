"""A capture of any size: connections between seven nodes, eight packets each, as a pcap on standard output.

python -m bench.analysis.made_traffic PACKETS [BODY]    BODY: bytes of an answer's body
"""

from __future__ import annotations

import struct
import sys

import numpy as np

_BLOCK = 8192  # connections per write
_STEP_NANOSECONDS = 20_000
_BEGIN = 1_700_000_000
_HEADER = 16
_QUESTION = (
    b"GET /api/products HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n"
)
_PRODUCTS = b'{"instance":"product-2","products":[{"id":"1","name":"Laptop","price":999.99,"stock":50}]}'
_HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Connection: keep-alive\r\n\r\n"
)
PACKETS_EACH = 8
_Step = tuple[bool, int, int, bytes]


def _steps(body: bytes) -> list[_Step]:
    """Return the packets of a connection: from the client or not, flags, sequence after the first, payload."""
    answer = _HEAD % len(body) + body
    return [
        (True, 0x02, 0, b""), (False, 0x12, 0, b""), (True, 0x10, 1, b""), (True, 0x18, 1, _QUESTION),
        (False, 0x10, 1, b""), (False, 0x18, 1, answer),
        (True, 0x11, 1 + len(_QUESTION), b""), (False, 0x11, 1 + len(answer), b""),
    ]  # fmt: skip


def _template(steps: list[_Step]) -> tuple[bytes, list[int]]:
    """Return the bytes of one connection, and the offset of each record."""
    data, begins = b"", []
    for _, flags, _, payload in steps:
        ip = struct.pack("!BBHHHBBH8x", 0x45, 0, 40 + len(payload), 1, 0x4000, 64, 6, 0)
        tcp = struct.pack("!12xBBHHH", 0x50, flags, 500, 0, 0)
        frame = b"\2\0\0\0\0\1\2\0\0\0\0\2\x08\0" + ip + tcp + payload
        begins.append(len(data))
        data += struct.pack("<8xII", len(frame), len(frame)) + frame
    return data, begins


def _put(block: np.ndarray[tuple[int, int], np.dtype[np.uint8]], at: int, kind: str, values: object) -> None:
    raw = np.asarray(values, kind)
    block[:, at : at + raw.itemsize] = raw.view(np.uint8).reshape(-1, raw.itemsize)


def main(packets: int, body: int = len(_PRODUCTS)) -> None:
    """Write the capture, the same one each time."""
    chance = np.random.default_rng(1)
    steps = _steps(_PRODUCTS.ljust(body, b"."))
    template, begins = _template(steps)
    out = sys.stdout.buffer
    out.write(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
    for first in range(0, packets // PACKETS_EACH, _BLOCK):
        count = min(_BLOCK, packets // PACKETS_EACH - first)
        block = np.tile(np.frombuffer(template, np.uint8), (count, 1))
        client = chance.integers(1, 8, count)
        server = (client + chance.integers(1, 7, count) - 1) % 7 + 1
        port, sequences = chance.integers(32768, 60999, count), chance.integers(0, 2**32, (2, count))
        for number, (begin, (forth, _, offset, _)) in enumerate(zip(begins, steps, strict=True)):
            moment = (np.arange(count) + first) * PACKETS_EACH + number
            time = moment * _STEP_NANOSECONDS
            _put(block, begin, "<u4", _BEGIN + time // 10**9)
            _put(block, begin + 4, "<u4", time % 10**9 // 1000)
            ends, ports = ((client, server), (port, 80)) if forth else ((server, client), (80, port))
            ip = begin + _HEADER + 14
            _put(block, ip + 12, ">u4", 0x0A000000 + ends[0] * 10)
            _put(block, ip + 16, ">u4", 0x0A000000 + ends[1] * 10)
            _put(block, ip + 20, ">u2", np.broadcast_to(ports[0], count).copy())
            _put(block, ip + 22, ">u2", np.broadcast_to(ports[1], count).copy())
            _put(block, ip + 24, ">u4", (sequences[0 if forth else 1] + offset) % 2**32)
        out.write(block.tobytes())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
