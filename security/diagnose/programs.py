"""One look at all programs, of about a second: supervisor, processes, sockets, answers. Everything at the same time."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event, Timer
from typing import Any

from lab.services import Program
from lab.topology import Listener, Node, Topology
from security.diagnose.processes import Process, read_processes
from security.diagnose.sockets import SS, Listening, parse_listening
from security.diagnose.supervisor import Supervised, read_supervised, read_unexpected_ends

LOOK_SECONDS = 1.2
_SAMPLES = 16
_ANSWER_SECONDS = 1.0
_ENDED_SECONDS = 25.0  # the supervisor waits longer after each failed start
_STEADY_SECONDS = 8.0  # a program that has run so long does not end again and again
_OK = 200
_MAX_BYTES = 1 << 20

Run = Callable[..., str]


@dataclass(frozen=True)
class Reply:
    """An answer of a program; status 0: none."""

    status: int
    text: str  # the answer, or why there is none

    @property
    def json(self) -> Any:
        """The text as JSON, None if it is not."""
        with suppress(ValueError, RecursionError):
            return json.loads(self.text)
        return None

    @property
    def degraded(self) -> dict[str, str]:
        """What /ready says of optional dependencies that do not answer."""
        found = self.json.get("degraded") if isinstance(self.json, dict) else None
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Programs:
    """All programs as they were during the look."""

    supervised: Mapping[str, Supervised] | None  # None: the supervisor does not answer
    ended: Counter[str]  # by node: ends by itself during the last seconds
    processes: Mapping[str, list[Process]]  # by node
    stopped: Mapping[int, float]  # by process: the share of the look during which it was stopped
    listening: Mapping[str, list[Listening]]  # by namespace, at the end
    heard: frozenset[tuple[str, Listener]]  # who listened at its own address at the beginning or at the end
    replies: Mapping[str, Reply]  # by node: to /ready, or to a TCP connection
    restarted: frozenset[str] = field(default_factory=frozenset)  # nodes that started again during the look

    def is_ready(self, node: Node) -> bool:
        """Return whether the node answered that it is ready."""
        return self.replies[node.name].status == _OK

    def runs_steadily(self, node: Node) -> bool:
        """Return whether the node's program has run for some time, so that what ended before is over."""
        one = (self.supervised or {}).get(node.name)
        now = time.time()  # noqa: TID251 - the supervisor gives a date
        return one is not None and one.state == "RUNNING" and now - one.started > _STEADY_SECONDS

    def stopped_share(self, node: Node) -> float:
        """Return the largest share of the look during which a process of the node was stopped."""
        return max((self.stopped.get(pid, 0.0) for pid in self.pids(node)), default=0.0)

    def pids(self, node: Node) -> set[int]:
        """Return the numbers of the node's processes."""
        return {process.pid for process in self.processes.get(node.name, [])}


@dataclass(frozen=True)
class Places:
    """Where the programs' files are."""

    socket: Path  # of the supervisor
    log: Path
    nodes: Path  # a folder for each node; its owner is the node's user

    def users(self, topology: Topology) -> dict[int, str]:
        """Return the node of each user."""
        found = {}
        for node in topology.nodes:
            with suppress(OSError):
                found[(self.nodes / node.name).stat().st_uid] = node.name
        return found


def look(topology: Topology, programs: Mapping[str, Program], places: Places, run: Run) -> Programs:
    """Look at all programs for LOOK_SECONDS; `run` runs a command in a namespace."""
    running = [node for node in topology.nodes if node.runs]
    namespaces = sorted({node.namespace for node in running})
    users = places.users(topology)
    with ThreadPoolExecutor(2 * len(running) + 3) as pool:
        replies = {node.name: pool.submit(_ask, node, programs[str(node.runs)].ready) for node in running}
        before = pool.submit(read_supervised, places.socket)
        listening_before = _listening(pool, namespaces, run)
        stopped = pool.submit(_sample, read_processes(users))
        share = stopped.result()
        after = pool.submit(read_supervised, places.socket)
        listening = _listening(pool, namespaces, run)
        return Programs(
            supervised=after.result(),
            ended=read_unexpected_ends(places.log, _ENDED_SECONDS),
            processes=read_processes(users),
            stopped=share,
            listening=listening,
            heard=frozenset(_heard(running, listening_before) | _heard(running, listening)),
            replies={name: reply.result() for name, reply in replies.items()},
            restarted=_restarted(before.result() or {}, after.result() or {}),
        )


def _listening(pool: ThreadPoolExecutor, namespaces: list[str], run: Run) -> dict[str, list[Listening]]:
    printed = {name: pool.submit(run, *SS, namespace=name, seconds=1.0) for name in namespaces}
    return {name: parse_listening(output.result()) for name, output in printed.items()}


def _heard(nodes: list[Node], listening: Mapping[str, list[Listening]]) -> set[tuple[str, Listener]]:
    return {
        (node.name, Listener(one.port, one.protocol))
        for node in nodes
        for one in listening[node.namespace]
        if one.is_at(node.host)
    }


def _sample(processes: Mapping[str, list[Process]]) -> dict[int, float]:
    """Return the share of the samples in which each process was stopped."""
    stopped: Counter[int] = Counter()
    known = [process for group in processes.values() for process in group]
    for _ in range(_SAMPLES):
        for process in known:
            with suppress(OSError, IndexError):
                text = Path(f"/proc/{process.pid}/stat").read_text(errors="replace")
                stopped[process.pid] += text.rpartition(")")[2].split()[0] in "Tt"
        time.sleep(LOOK_SECONDS / _SAMPLES)
    return {pid: count / _SAMPLES for pid, count in stopped.items()}


def _restarted(before: Mapping[str, Supervised], after: Mapping[str, Supervised]) -> frozenset[str]:
    return frozenset(
        name for name in before.keys() & after.keys() if before[name].started != after[name].started
    )


def _ask(node: Node, path: str) -> Reply:
    """Ask a program whether it is ready; one without a path for it is ready if it accepts a connection."""
    address, port = str(node.address.ip), node.listens[0].port
    if path:
        return ask_http(address, port, path)
    try:
        with socket.create_connection((address, port), _ANSWER_SECONDS):
            return Reply(_OK, "")
    except OSError as failure:
        return Reply(0, str(failure))


@contextmanager
def _deadline(sock: socket.socket) -> Iterator[None]:
    """End a connection at a deadline: the timeout of a socket is one for each read. Raises TimeoutError."""
    ended = Event()

    def end() -> None:
        ended.set()
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = Timer(_ANSWER_SECONDS, end)
    timer.start()
    try:
        yield
    except (OSError, HTTPException):
        if not ended.is_set():  # else it failed because of the shutdown
            raise
    finally:
        timer.cancel()
    if ended.is_set():
        raise TimeoutError("timed out")


def ask_http(address: str, port: int, path: str) -> Reply:
    """Send a GET and return the answer, if all of it comes before the deadline."""
    try:
        with closing(HTTPConnection(address, port, timeout=_ANSWER_SECONDS)) as connection:
            connection.connect()
            with _deadline(connection.sock):
                connection.request("GET", path)
                answer = connection.getresponse()
                text = answer.read(_MAX_BYTES).decode(errors="replace")
        return Reply(answer.status, text)
    except (OSError, HTTPException) as failure:
        return Reply(0, str(failure) or type(failure).__name__)
