"""Details of the chosen service or flow: connections, lines of the policy, drops, a packet's path."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import permutations
from pathlib import Path
from typing import Any

from lab.table import TableError
from monitoring.connections.tracker import take_snapshot
from monitoring.dashboard.model import Model, Place, Scene
from monitoring.dashboard.watchers import Drop
from monitoring.drawing import packets_of
from monitoring.health.checks import UP
from monitoring.live import LiveError
from security.policy.model import Line
from security.policy.table import load as load_policy
from security.policy.table import policy_path

_ROOT = Path(__file__).resolve().parents[2]
_EXPLAIN, _DIAGNOSE = _ROOT / "security" / "explain.sh", _ROOT / "scripts" / "diagnose.sh"
_TIMEOUT_SECONDS = 10  # SIGTERM allows a clean-up; SIGKILL follows after as many seconds
_TIMED_OUT = (124, 137, -9)  # exit statuses of timeout(1)
_MAX_CONNECTIONS, _MAX_DROPS = 12, 12


@dataclass(frozen=True)
class Rows:
    """A small table; the page shows `empty` instead of a table without rows."""

    title: str
    headings: Sequence[str]
    cells: Sequence[Sequence[str]]
    empty: str = "none"


def tables(model: Model, scene: Scene, names: Sequence[str]) -> list[Rows]:
    """Return the tables of a place, or of the traffic between two places."""
    facts = [_facts(model, scene, names[0])] if len(names) == 1 else []
    return [*facts, _connections(model, set(names)), _drops(scene, set(names)), _lines(model, names)]


def _facts(model: Model, scene: Scene, name: str) -> Rows:
    place = next(place for place in scene.places if place.name == name)
    node = model.topology.node(name)
    rows = [("state", _state(place))]
    if node:
        listens = ", ".join(map(str, node.listens)) or "nothing"
        rows += [("address", str(node.address)), ("namespace", node.namespace), ("listens", listens)]
        history = model.health.histories.get(name)
        if history:
            rows.append(("uptime, last checks", f"{100 * history.uptime:.1f} %  {history.sparkline()}"))
    return Rows(name, ("", ""), rows)


def _state(place: Place) -> str:
    if not place.check:
        return "not checked"
    if place.state == UP:
        return f"up, {place.check.milliseconds:.1f} ms"
    return f"{place.state}: {place.check.why}"


def _connections(model: Model, names: set[str]) -> Rows:
    try:
        pairs = take_snapshot(model.topology).pairs
    except LiveError as error:
        return Rows("Connections", (), (), str(error))
    cells = [
        (source, destination, f"{protocol}/{port}" if port else protocol, state, str(count))
        for (source, destination, protocol, port, state), count in pairs.most_common()
        if names <= {source, destination}
    ]
    return Rows("Connections (conntrack)", ("from", "to", "port", "state", "count"), cells[:_MAX_CONNECTIONS])


def _drops(scene: Scene, names: set[str]) -> Rows:
    return drop_rows(
        "Recent drops", [drop for drop in scene.drops if names <= {drop.source, drop.destination}]
    )


def drop_rows(title: str, drops: Sequence[Drop]) -> Rows:
    """Return the table of the latest drops."""
    cells = [
        (
            datetime.fromtimestamp(drop.time).strftime("%H:%M:%S"),
            drop.policy_id,
            f"{drop.source or '?'} \u2192 {drop.destination or '?'}",
            drop.what,
        )
        for drop in drops[:_MAX_DROPS]
    ]
    headings = ("time", "policy line", "from \u2192 to", "what")
    return Rows(title, headings, cells, "Nothing was dropped in this time.")


def _lines(model: Model, names: Sequence[str]) -> Rows:
    policy = None
    with suppress(TableError, OSError):
        policy = load_policy(model.topology) if policy_path(model.topology) else None
    if policy is None:
        return Rows("Policy", (), (), "no policy: all traffic between nodes is allowed")

    def is_about_them(line: Line) -> bool:
        if len(names) == 1:
            return names[0] in line.sources | line.destinations
        return any(one in line.sources and other in line.destinations for one, other in permutations(names))

    cells = [
        (line.id, line.verdict, packets_of(line), line.reason) for line in policy.lines if is_about_them(line)
    ]
    return Rows("Lines of the policy", ("line", "verdict", "what", "reason"), cells)


def flows_to_explain(
    model: Model, scene: Scene, source: str, destination: str
) -> Iterator[tuple[str, str, str, int]]:
    """Yield flows between two places that are worth explaining: drops first, then the ports that a node listens on."""
    for drop in scene.drops:
        if {drop.source, drop.destination} == {source, destination} and drop.port:
            yield drop.source, drop.destination, drop.protocol, drop.port
    for first, second in ((source, destination), (destination, source)):
        node = model.topology.node(second)
        for listener in node.listens if node else ():
            yield first, second, listener.protocol, listener.port


def explain(flow: tuple[str, str, str, int]) -> dict[str, Any]:
    """Return the output of security/explain.sh for a flow, or {"error": why}."""
    source, destination, protocol, port = flow
    options = ["--json", *(["--udp"] if protocol == "udp" else [])]
    return _json_of([str(_EXPLAIN), source, destination, str(port), *options])


def diagnose() -> dict[str, Any]:
    """Return the output of scripts/diagnose.sh, or {"error": why}."""
    return _json_of([str(_DIAGNOSE), "run", "--json"])


def _json_of(command: Sequence[str]) -> dict[str, Any]:
    """Return a command's output, which is a JSON object, or {"error": why}."""
    seconds = str(_TIMEOUT_SECONDS)
    done = subprocess.run(
        ["timeout", "-k", seconds, seconds, *command], capture_output=True, text=True, check=False
    )
    try:
        output: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        why = [] if done.returncode in _TIMED_OUT else done.stderr.strip().splitlines()
        name = Path(command[0]).stem
        return {"error": (why or [f"{name} gave no answer in {_TIMEOUT_SECONDS} s"])[-1]}
    return output
