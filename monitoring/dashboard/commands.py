"""Run the lab's commands that print JSON: explain for a flow, diagnose for the whole lab."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from monitoring.dashboard.model import Model, Scene

_ROOT = Path(__file__).resolve().parents[2]
_EXPLAIN, _DIAGNOSE = _ROOT / "security" / "explain.sh", _ROOT / "scripts" / "diagnose.sh"
_TIMEOUT_SECONDS = 10  # SIGTERM allows a clean-up; SIGKILL follows after as many seconds
_TIMED_OUT = (124, 137, -9)  # exit statuses of timeout(1)


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
