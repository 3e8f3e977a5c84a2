"""One turn of bench/hops/run.sh: the latency and the CPU of requests, by new connections and on a kept one.

python -m bench.hops.client ROUND HOP ADDRESS:PORT REQUESTS    (within the client's namespace; prints lines of CSV)

Latency is from before the socket is made (kept: before the request is written) until the answer's last byte is
read, one request at a time. The socket is closed after the clock has stopped.

CPU is the time of all processes of the sandbox, in nanoseconds (/proc/PID/task/TID/schedstat, proc(5)): client,
servers, and the kernel's work on their behalf. That is nearly all of the path: on loopback and veth the receiver's
side runs as a softirq at the end of the sender's own system call. It excludes ksoftirqd, timers and kernel workers,
so the machine's busy time (/proc/stat) is measured too; only on an idle machine is all of it this benchmark's.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from bench.common.cgroups import busy_seconds
from lab.csv_files import Writer
from lab.topology import bracketed

NEW, KEPT = "new", "kept"
IPV4, IPV6 = "ipv4", "ipv6"
DEADLINE_SECONDS = 60
_PATH = "/api/products"
_OK = b"HTTP/1.1 200"
_MAX_BYTES = 65536
_WARM_UP = 100


class BadAnswerError(Exception):
    """An answer that is not the expected one; as text, one line."""


def request(address: str, close: bool) -> bytes:
    """Return the bytes of a request."""
    lines = [
        f"GET {_PATH} HTTP/1.1",
        f"Host: {bracketed(address)}",
        *(["Connection: close"] if close else []),
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def read_answer(connection: socket.socket) -> None:
    """Read one answer to the end, by its Content-Length. Raises BadAnswerError."""
    answer, end, length = b"", -1, 0
    while end < 0 or len(answer) < end + 4 + length:
        part = connection.recv(_MAX_BYTES)
        if not part:
            raise BadAnswerError(f"the connection ended in an answer: {answer[:60]!r}")
        answer += part
        if end < 0 and (end := answer.find(b"\r\n\r\n")) >= 0:
            if not answer.startswith(_OK):
                raise BadAnswerError(f"bad answer: {answer[:60]!r}")
            length = int(answer[:end].lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])


def family_of(address: str) -> str:
    """Return IPV4 or IPV6."""
    return IPV6 if ":" in address else IPV4


def sender(server: tuple[str, int], kind: str) -> Callable[[], int]:
    """Return a function that sends one request, on a NEW or the KEPT connection, and returns its nanoseconds."""
    message = request(server[0], close=kind == NEW)
    family = socket.AF_INET6 if family_of(server[0]) == IPV6 else socket.AF_INET
    kept = socket.create_connection(server) if kind == KEPT else None

    def send_request() -> int:
        begin = time.perf_counter_ns()
        connection = kept or socket.socket(family)
        if not kept:
            connection.connect(server)
        connection.sendall(message)
        read_answer(connection)
        taken = time.perf_counter_ns() - begin
        if not kept:
            connection.close()
        return taken

    return send_request


def cpu_times() -> dict[str, int]:
    """Return the nanoseconds of CPU time that each visible task has used so far, by its path in /proc."""
    os.sched_yield()  # updates the process' CPU time in schedstat
    times = {}
    for path in Path("/proc").glob("[0-9]*/task/*/schedstat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the process has just ended
            times[str(path)] = int(path.read_text().split()[0])
    return times


def used_us(before: Mapping[str, int], after: Mapping[str, int]) -> float:
    """Return the microseconds of CPU time used between two calls of cpu_times, without tasks that ended meanwhile."""
    return sum(used - before.get(task, 0) for task, used in after.items()) / 1000


def measure(send_request: Callable[[], int], requests: int) -> tuple[float, float, list[int]]:
    """Send requests after a warm-up; return CPU and machine time in us per request, and latencies in ns."""
    for _ in range(max(_WARM_UP, requests // 5)):
        send_request()
    machine, times = busy_seconds(), cpu_times()
    latencies = [send_request() for _ in range(requests)]
    processes, machine = used_us(times, cpu_times()), busy_seconds() - machine
    return processes / requests, machine * 1e6 / requests, latencies


def main(turn: str, hop: str, server: str, requests: int) -> None:
    """Measure both kinds and write a line of CSV for each."""
    signal.alarm(DEADLINE_SECONDS)
    gc.disable()
    address, port = server.rsplit(":", 1)
    writer = Writer(sys.stdout)
    address = address.strip("[]")
    for kind in (NEW, KEPT):
        processes, machine, latencies = measure(sender((address, int(port)), kind), requests)
        if not processes:
            raise SystemExit("hops: this kernel keeps no CPU times (/proc/PID/schedstat: CONFIG_SCHED_INFO)")
        text = " ".join(f"{taken / 1000:.1f}" for taken in latencies)
        writer.row(
            (turn, hop, family_of(address), kind, requests, f"{processes:.2f}", f"{machine:.2f}", text)
        )


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
    except (BadAnswerError, OSError) as problem:
        raise SystemExit(f"hops: {sys.argv[2]}: {problem}") from None
