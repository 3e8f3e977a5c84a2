"""What is told of a place or a way that was chosen: connections, the policy's lines, drops, a packet's story."""

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
from monitoring.connections.tracker import take
from monitoring.dashboard.model import Model, Scene
from monitoring.health.checks import DEGRADED, DOWN, UP
from monitoring.live import LiveError
from security.policy.model import Line, Policy
from security.policy.table import load as load_policy
from security.policy.table import policy_path

_EXPLAIN = Path(__file__).resolve().parents[2] / "security" / "explain.sh"
_PATIENCE_SECONDS = 10
_MOST_CONNECTIONS, _MOST_DROPS = 12, 12


@dataclass(frozen=True)
class Rows:
    """A small table; `empty` is said in its place when it has no row."""

    title: str
    headings: Sequence[str]
    cells: Sequence[Sequence[str]]
    empty: str = "none"


def of_place(model: Model, scene: Scene, name: str) -> list[Rows]:
    """Tell of a place."""
    return [
        _facts(model, scene, name),
        _connections(model, {name}),
        _drops(scene, {name}, both=False),
        _lines(model, lambda line: name in line.sources | line.destinations),
    ]


def of_way(model: Model, scene: Scene, source: str, destination: str) -> list[Rows]:
    """Tell of what is between two places."""
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
    rows = [("state", states.get(place.state or "", "not asked"))]
    if node:
        listens = ", ".join(map(str, node.listens)) or "nothing"
        rows += [("address", str(node.address)), ("namespace", node.namespace), ("listens", listens)]
        history = model.watch.health.histories.by_node.get(name)
        if history:
            rows.append(("uptime, last checks", f"{100 * history.uptime:.1f} %  {history.sparkline()}"))
    return Rows(name, ("", ""), rows)


def _connections(model: Model, names: set[str]) -> Rows:
    try:
        pairs = take(model.watch.topology).pairs
    except LiveError as error:
        return Rows("Connections", (), (), str(error))
    cells = [
        (source, destination, f"{protocol}/{port}" if port else protocol, state, str(count))
        for (source, destination, protocol, port, state), count in pairs.most_common()
        if ({source, destination} >= names if len(names) > 1 else names & {source, destination})
    ]
    return Rows(
        "Connections (conntrack)", ("from", "to", "port", "state", "count"), cells[:_MOST_CONNECTIONS]
    )


def _drops(scene: Scene, names: set[str], *, both: bool) -> Rows:
    cells = [
        (
            drop.policy_id,
            drop.source,
            drop.destination,
            f"{drop.protocol}/{drop.port}" if drop.port else drop.protocol,
        )
        for drop in scene.drops
        if ({drop.source, drop.destination} >= names if both else names & {drop.source, drop.destination})
    ]
    return Rows("Dropped lately", ("policy line", "from", "to", "what"), cells[:_MOST_DROPS])


def _lines(model: Model, spoken_of: Callable[[Line], bool]) -> Rows:
    policy = policy_of(model)
    if policy is None:
        return Rows("Policy", (), (), "there is no policy: everybody may talk to everybody")
    cells = [
        (
            line.id,
            line.verdict,
            ",".join(line.protocols) + "".join(f" {first}" for first, _ in line.ports),
            line.reason,
        )
        for line in policy.lines
        if spoken_of(line)
    ]
    return Rows("Lines of the policy", ("line", "verdict", "what", "reason"), cells)


def policy_of(model: Model) -> Policy | None:
    """Give the policy that belongs to the topology."""
    try:
        return load_policy(model.watch.topology) if policy_path(model.watch.topology) else None
    except (TableError, OSError):
        return None


def asked_about(
    model: Model, scene: Scene, source: str, destination: str
) -> Iterator[tuple[str, str, str, int]]:
    """Give flows between two places worth explaining: what was dropped first, then what the right one listens on."""
    for drop in scene.drops:
        if {drop.source, drop.destination} == {source, destination} and drop.port:
            yield drop.source, drop.destination, drop.protocol, drop.port
    for first, second in ((source, destination), (destination, source)):
        node = model.watch.topology.node(second)
        for listener in node.listens if node else ():
            yield first, second, listener.protocol, listener.port


def story(model: Model, flow: tuple[str, str, str, int]) -> dict[str, Any]:
    """Have a packet's way explained; {"error": why} when that cannot be."""
    source, destination, protocol, port = flow
    command = [
        str(_EXPLAIN),
        source,
        destination,
        str(port),
        "--json",
        *(["--udp"] if protocol == "udp" else []),
    ]
    try:
        output, said = _run_for_a_while(command)
        found: dict[str, Any] = json.loads(output)
    except OSError as error:
        return {"error": str(error)}
    except ValueError:
        return {
            "error": (said.strip().splitlines() or [f"explain gave no answer in {_PATIENCE_SECONDS} s"])[-1]
        }
    return found


def _run_for_a_while(command: Sequence[str]) -> tuple[str, str]:
    """Give what it prints; all its processes get a SIGTERM when time is up, so that it undoes what it made."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=_PATIENCE_SECONDS)
        for ending in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(process.pid, ending)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=_PATIENCE_SECONDS)
                break
    return "", ""
