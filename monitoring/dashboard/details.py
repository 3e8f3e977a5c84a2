"""Details of the chosen service or flow: connections, lines of the policy, drops, a packet's path."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.table import TableError
from monitoring.connections.tracker import take_snapshot
from monitoring.dashboard.model import Model, Scene
from monitoring.health.checks import DEGRADED, DOWN, UP
from monitoring.live import LiveError
from security.policy.model import Line, Policy
from security.policy.table import load as load_policy
from security.policy.table import policy_path

_EXPLAIN = Path(__file__).resolve().parents[2] / "security" / "explain.sh"
_TIMEOUT_SECONDS = 10
_MAX_CONNECTIONS, _MAX_DROPS = 12, 12


@dataclass(frozen=True)
class Rows:
    """A small table; `empty` is shown in its place when it has no row."""

    title: str
    headings: Sequence[str]
    cells: Sequence[Sequence[str]]
    empty: str = "none"


def place_tables(model: Model, scene: Scene, name: str) -> list[Rows]:
    """Return the tables of a place."""
    return [
        _facts(model, scene, name),
        _connections(model, {name}),
        _drops(scene, {name}, both=False),
        _lines(model, lambda line: name in line.sources | line.destinations),
    ]


def way_tables(model: Model, scene: Scene, source: str, destination: str) -> list[Rows]:
    """Return the tables of the traffic between two places."""
    ends = {source, destination}
    return [
        _connections(model, ends),
        _drops(scene, ends, both=True),
        _lines(
            model,
            lambda line: (
                (source in line.sources and destination in line.destinations)
                or (destination in line.sources and source in line.destinations)
            ),
        ),
    ]


def _facts(model: Model, scene: Scene, name: str) -> Rows:
    place = next(place for place in scene.places if place.name == name)
    node = model.watch.topology.node(name)
    states = {
        UP: f"up, {place.milliseconds:.1f} ms",
        DEGRADED: f"degraded: {place.why}",
        DOWN: f"down: {place.why}",
    }
    rows = [("state", states.get(place.state or "", "not checked"))]
    if node:
        listens = ", ".join(map(str, node.listens)) or "nothing"
        rows += [("address", str(node.address)), ("namespace", node.namespace), ("listens", listens)]
        history = model.watch.health.histories.by_node.get(name)
        if history:
            rows.append(("uptime, last checks", f"{100 * history.uptime:.1f} %  {history.sparkline()}"))
    return Rows(name, ("", ""), rows)


def _connections(model: Model, names: set[str]) -> Rows:
    try:
        pairs = take_snapshot(model.watch.topology).pairs
    except LiveError as error:
        return Rows("Connections", (), (), str(error))
    cells = [
        (source, destination, f"{protocol}/{port}" if port else protocol, state, str(count))
        for (source, destination, protocol, port, state), count in pairs.most_common()
        if ({source, destination} >= names if len(names) > 1 else names & {source, destination})
    ]
    return Rows("Connections (conntrack)", ("from", "to", "port", "state", "count"), cells[:_MAX_CONNECTIONS])


def _drops(scene: Scene, names: set[str], *, both: bool) -> Rows:
    cells = [
        (drop.policy_id, drop.source, drop.destination, drop.what)
        for drop in scene.drops
        if ({drop.source, drop.destination} >= names if both else names & {drop.source, drop.destination})
    ]
    return Rows("Recent drops", ("policy line", "from", "to", "what"), cells[:_MAX_DROPS])


def _lines(model: Model, is_wanted: Callable[[Line], bool]) -> Rows:
    policy = policy_of(model)
    if policy is None:
        return Rows("Policy", (), (), "no policy: all traffic between nodes is allowed")
    cells = [
        (
            line.id,
            line.verdict,
            ",".join(line.protocols) + "".join(f" {first}" for first, _ in line.ports),
            line.reason,
        )
        for line in policy.lines
        if is_wanted(line)
    ]
    return Rows("Lines of the policy", ("line", "verdict", "what", "reason"), cells)


def policy_of(model: Model) -> Policy | None:
    """Return the policy of the topology, or None."""
    try:
        return load_policy(model.watch.topology) if policy_path(model.watch.topology) else None
    except (TableError, OSError):
        return None


def flows_to_explain(
    model: Model, scene: Scene, source: str, destination: str
) -> Iterator[tuple[str, str, str, int]]:
    """Yield flows between two places that are worth explaining: drops first, then the ports that a node listens on."""
    for drop in scene.drops:
        if {drop.source, drop.destination} == {source, destination} and drop.port:
            yield drop.source, drop.destination, drop.protocol, drop.port
    for first, second in ((source, destination), (destination, source)):
        node = model.watch.topology.node(second)
        for listener in node.listens if node else ():
            yield first, second, listener.protocol, listener.port


def explain(flow: tuple[str, str, str, int]) -> dict[str, Any]:
    """Return what security/explain.sh prints for a flow, or {"error": why}."""
    source, destination, protocol, port = flow
    options = ["--json", *(["--udp"] if protocol == "udp" else [])]
    try:
        output, errors = _run_within_timeout([str(_EXPLAIN), source, destination, str(port), *options])
        explanation: dict[str, Any] = json.loads(output)
    except OSError as error:
        return {"error": str(error)}
    except ValueError:
        no_answer = f"explain gave no answer in {_TIMEOUT_SECONDS} s"
        return {"error": (errors.strip().splitlines() or [no_answer])[-1]}
    return explanation


def _run_within_timeout(command: Sequence[str]) -> tuple[str, str]:
    """Return what a command prints. At the timeout send SIGTERM to all its processes, so that it can clean up."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=_TIMEOUT_SECONDS)
        for ending in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(process.pid, ending)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=_TIMEOUT_SECONDS)
                break
    return "", ""
