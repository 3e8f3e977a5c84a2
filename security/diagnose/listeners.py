"""Findings in listening sockets: a port without a listener, with one at another address, or of another program."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from lab.topology import Listener, Node
from security.diagnose.finding import Evidence, Finding, Kind
from security.diagnose.observed import Observed
from security.diagnose.sockets import Listening

_START_SECONDS = 5.0  # until a program that has just started must listen


def check_listeners(seen: Observed, node: Node) -> Iterator[Finding]:
    """Yield each port of the table on which the node's program does not listen although it runs."""
    states = seen.program_states
    sockets = states.listening.get(node.namespace, [])
    own = states.pids(node)
    for listener in node.listens:
        at_port = [one for one in sockets if (one.port, one.protocol) == (listener.port, listener.protocol)]
        here = [one for one in at_port if one.is_at(node.host)]
        other_programs = [one for one in here if one.pids and not own & set(one.pids)]
        if other_programs:
            yield _taken(node, listener, other_programs[0])
        elif (node.name, listener) not in states.heard and _runs(seen, node):
            elsewhere = [one for one in sockets if own & set(one.pids)]
            yield from _elsewhere(seen, node, listener, elsewhere)


def _runs(seen: Observed, node: Node) -> bool:
    """Return whether the program has run long enough to listen."""
    supervised = (seen.program_states.supervised or {}).get(node.name)
    is_new = supervised is None or time.time() - supervised.started < _START_SECONDS  # noqa: TID251 - a date
    return supervised is not None and supervised.state == "RUNNING" and not is_new


def _taken(node: Node, listener: Listener, socket: Listening) -> Finding:
    pid, program = socket.pids[0], socket.programs[0]
    return _finding(
        node,
        listener,
        f"port {listener} of {node.name} is taken by another program: {program} (pid {pid})",
        (f"sudo kill {pid}", "sudo scripts/services.sh up"),
        socket.line,
    )


def _elsewhere(
    seen: Observed, node: Node, listener: Listener, elsewhere: list[Listening]
) -> Iterator[Finding]:
    repair = (f"sudo scripts/services.sh restart {node.name}",)
    try:
        inode = os.stat(f"/run/netns/{node.namespace}").st_ino
    except FileNotFoundError:
        return  # the namespace is missing, which is another finding
    processes = seen.program_states.processes.get(node.name, [])
    if any(process.namespace != inode for process in processes):
        cause = f"{node.name} runs in an old network namespace: {node.namespace} was created again"
        yield _finding(node, listener, cause, repair, "")
    elif elsewhere:
        places = ", ".join(f"{one.address}:{one.port}/{one.protocol}" for one in elsewhere)
        cause = f"{node.name} listens on {places}, not on {node.host}:{listener}"
        yield _finding(node, listener, cause, repair, elsewhere[0].line)
    elif processes:
        cause = f"{node.name} runs and does not listen on {node.host}:{listener}"
        yield _finding(node, listener, cause, repair, "")


def _finding(node: Node, listener: Listener, cause: str, repair: tuple[str, ...], line: str) -> Finding:
    return Finding(
        kind=Kind.WRONG_LISTENER,
        object=str(listener),
        place=node.name,
        cause=cause,
        breaks=f"connections to {node.host}:{listener.port} are refused, or reach another program",
        repair=repair,
        evidence=(
            Evidence(
                command=f"sudo ip netns exec {node.namespace} ss -lntup", line=line or "no line with the port"
            ),
        ),
    )
