"""Findings in programs: the supervisor, each program's processes and sockets, the disk, and who is not ready."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab.topology import Node
from security.diagnose.configuration import check_configuration
from security.diagnose.finding import Evidence, Finding, Kind
from security.diagnose.listeners import check_listeners
from security.diagnose.observed import RUN_DIR, STATE_DIR, Observed
from security.diagnose.processes import Process
from security.diagnose.stores import check_stores

_FULL_BYTES = 8 << 20
_SLOW_SHARE = 0.1
_CRASHES = 2
_CONTROL = f".venv/bin/supervisorctl -c {RUN_DIR}/supervisord.conf"


def check_services(seen: Observed) -> Iterator[Finding]:
    """Yield what is wrong with the programs, if they are meant to run."""
    if not seen.services_are_meant_to_run:
        return
    yield from _check_disk()
    if seen.program_states.supervised is None:
        yield _supervisor_stopped(seen)
    for node in seen.topology.nodes:
        if node.runs:
            cause = next(_check_program(seen, node), None)
            if cause:
                yield cause
    yield from check_stores(seen)
    yield from _check_readiness(seen)


def _check_disk() -> Iterator[Finding]:
    """Yield the file system of the stores if it is full."""
    try:
        found = os.statvfs(STATE_DIR)
    except OSError:
        return
    if found.f_bavail * found.f_frsize < _FULL_BYTES:
        mount = _mount_point(STATE_DIR)
        yield Finding(
            kind=Kind.DISK_FULL,
            object=str(mount),
            place="host",
            cause=f"the file system at {mount} has no space left",
            breaks="the database cannot write orders, and programs cannot save their state",
            repair=(f"sudo du -xah {mount} | sort -h | tail", "remove what is not needed"),
            evidence=(
                Evidence(command=f"df -h {STATE_DIR}", line=f"{found.f_bavail * found.f_frsize} bytes free"),
            ),
        )


def _mount_point(path: Path) -> Path:
    while not path.is_mount():
        path = path.parent
    return path


def _supervisor_stopped(seen: Observed) -> Finding:
    try:
        pid = int((RUN_DIR / "supervisord.pid").read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError, IndexError):
        pid, state = 0, ""
    runs = bool(pid) and state in "Tt"
    return Finding(
        kind=Kind.SUPERVISOR_STOPPED,
        object="supervisord",
        place="host",
        cause=f"the supervisor (pid {pid}) is stopped by a signal"
        if runs
        else "the supervisor does not run" + ("" if not pid else f" or does not answer (pid {pid})"),
        breaks="restarts: a program that ends stays down"
        if any(seen.program_states.processes.values())
        else "all programs: they end with their supervisor",
        repair=((f"sudo kill -CONT {pid}",) if runs else ()) + ("sudo scripts/services.sh up",),
        evidence=(
            Evidence(command=f"ps -o stat= -p {pid}", line=state or "nothing: there is no such process"),
        ),
    )


def _check_program(seen: Observed, node: Node) -> Iterator[Finding]:
    """Yield the causes of one program's failure, the deepest first."""
    yield from _check_processes(seen, node)
    yield from _check_stopped(seen, node)
    yield from check_configuration(seen, node)
    if seen.program_states.supervised is not None:
        yield from check_listeners(seen, node)
        yield from _check_crashes(seen, node)


def _check_processes(seen: Observed, node: Node) -> Iterator[Finding]:
    """Yield whether the program is stopped, slowed down, or has no file descriptors left."""
    states = seen.program_states
    listening = {pid for one in states.listening.get(node.namespace, []) for pid in one.pids}
    # First those that listen: the container's first process only sleeps.
    for process in sorted(states.processes.get(node.name, []), key=lambda one: one.pid not in listening):
        share = states.stopped.get(process.pid, 0.0)
        if process.is_stopped and (process.group or share == 1):
            yield _frozen(node, process, [one.pid for one in states.processes[node.name] if one.is_stopped])
        elif share > _SLOW_SHARE:
            yield _slow(
                node, process, f"is stopped {share:.0%} of the time", f"ps -o pid,stat,comm -p {process.pid}"
            )
        elif process.group:
            file = process.group
            yield _slow(node, process, f"gets only a share of the CPU time: {file}", f"cat {file}")
        elif process.is_out_of_files:
            yield _out_of_files(node, process)


def _frozen(node: Node, process: Process, pids: Sequence[int]) -> Finding:
    group = process.group
    command = f"echo {'THAWED' if group.endswith('state') else 0} | sudo tee {group}"
    return Finding(
        kind=Kind.PROGRAM_FROZEN,
        object=node.name,
        place=node.name,
        cause=f"{node.name}: process {process.pid} ({process.name}) is stopped"
        + (f" by its control group, {group}" if group else " by a signal"),
        breaks=f"what needs {node.name}: the kernel accepts connections, and no answer comes",
        repair=(
            command if group else f"sudo kill -CONT {' '.join(map(str, pids))}",
            f"sudo {_CONTROL} restart {node.name}",
        ),
        evidence=(
            Evidence(command=f"cat {group}", line="FROZEN" if group.endswith("state") else "1")
            if group
            else Evidence(
                command=f"ps -o pid,stat,comm -p {process.pid}",
                line=f"{process.pid} {process.state} {process.name}",
            ),
        ),
    )


def _slow(node: Node, process: Process, what: str, command: str) -> Finding:
    return Finding(
        kind=Kind.PROGRAM_SLOW,
        object=node.name,
        place=node.name,
        cause=f"{node.name}: process {process.pid} ({process.name}) {what}",
        breaks=f"what needs {node.name}: some answers are late, others miss their deadline",
        repair=("end what slows it down, or remove the limit", f"sudo {_CONTROL} restart {node.name}"),
        evidence=(Evidence(command=command, line=f"{process.pid} {what}"),),
    )


def _out_of_files(node: Node, process: Process) -> Finding:
    return Finding(
        kind=Kind.DESCRIPTORS,
        object=node.name,
        place=node.name,
        cause=f"{node.name}: process {process.pid} ({process.name}) has {process.open_files} open files"
        f" of at most {process.max_files}",
        breaks=f"{node.name} cannot accept connections, or open files",
        repair=(f"sudo prlimit --pid {process.pid} --nofile=4096", f"sudo {_CONTROL} restart {node.name}"),
        evidence=(
            Evidence(
                command=f"sudo ls /proc/{process.pid}/fd | wc -l; grep files /proc/{process.pid}/limits",
                line=f"Max open files {process.max_files}",
            ),
        ),
    )


def _check_stopped(seen: Observed, node: Node) -> Iterator[Finding]:
    supervised = seen.program_states.supervised
    if supervised is None:
        return
    state = supervised[node.name].state if node.name in supervised else "not in its configuration"
    if state in ("STOPPED", "STOPPING", "not in its configuration"):
        yield Finding(
            kind=Kind.PROGRAM_STOPPED,
            object=node.name,
            place=node.name,
            cause=f"{node.name} was stopped by hand, and the supervisor does not restart such a program"
            if state != "not in its configuration"
            else f"{node.name} is not in the supervisor's configuration",
            breaks=f"what needs {node.name}",
            repair=(f"sudo {_CONTROL} start {node.name}", "sudo scripts/services.sh up"),
            evidence=(Evidence(command=f"sudo {_CONTROL} status", line=f"{node.name} {state}"),),
        )


def _check_crashes(seen: Observed, node: Node) -> Iterator[Finding]:
    """Yield whether the program ends again and again."""
    states = seen.program_states
    state = states.supervised[node.name].state if states.supervised else ""
    ended = states.ended[node.name]
    if state in ("BACKOFF", "FATAL", "EXITED") or (
        not states.is_ready(node)
        and not states.runs_steadily(node)
        and (ended >= _CRASHES or node.name in states.restarted)
    ):
        error = seen.last_error(node)
        yield Finding(
            kind=Kind.PROGRAM_CRASHING,
            object=node.name,
            place=node.name,
            cause=f"{node.name} crashes repeatedly: {error or 'its log does not say why'}",
            breaks=f"what needs {node.name}",
            repair=(f"sudo make logs NODE={node.name}", "repair what the error names"),
            evidence=(
                Evidence(command=f"sudo {_CONTROL} status", line=f"{node.name} {state}, ended {ended} times"),
                Evidence(command=f"sudo make logs NODE={node.name}", line=error),
            ),
        )


def _check_readiness(seen: Observed) -> Iterator[Finding]:
    """Yield each program that does not answer that it is ready, and what it says of the others it uses."""
    states = seen.program_states
    for node in seen.topology.nodes:
        if not node.runs:
            continue
        reply = states.replies[node.name]
        why = "; ".join(f"{name}: {problem}" for name, problem in reply.degraded.items())
        if not states.is_ready(node):
            why = f"{reply.status or 'no answer'}: {' '.join(reply.text.split())[:120]}"
        if why:
            path = seen.programs[node.runs].ready
            place = f"{node.host}:{node.listens[0].port}"
            connect = f"timeout 1 bash -c '</dev/tcp/{node.address.ip}/{node.listens[0].port}'"
            yield Finding(
                kind=Kind.NOT_READY,
                object=node.name,
                place=node.name,
                cause=f"{node.name} is not ready: {why}",
                breaks=f"what needs {node.name}",
                repair=(f"sudo make logs NODE={node.name}",),
                evidence=(Evidence(command=f"curl http://{place}{path}" if path else connect, line=why),),
            )
