"""Check a topology table and print it for other tools.

python3 -m lab.topology dump [TABLE]        the table, columns in standard order, one tab between them
python3 -m lab.topology check [TABLE]       silent when valid; else FILE:LINE: COLUMN: reason, exit 1
python3 -m lab.topology bash [TABLE]        the table as bash arrays, for scripts/lib/topology.sh
python3 -m lab.topology services [TABLE]    the same, and for scripts/services.sh what each program and node needs
python3 -m lab.topology own SCRIPT          print the commands that change a copy of the table by sed and bring it up
python3 -m lab.topology running             the tables of the running lab, one a line
python3 -m lab.topology help

TABLE is a name in topology/ or a path; without it: TOPOLOGY, else the running lab's table, else flat.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence

from lab.topology import (
    COLUMNS,
    NONE,
    OPTIONAL_COLUMNS,
    Bridge,
    Node,
    Topology,
    TopologyError,
    load,
    own_table_command,
    running_tables,
    table_path,
)

_MAPS: dict[str, str] = {
    "NAMESPACE": "namespace",
    "ADDRESS": "address",
    "INTERFACE": "interface",
    "PORT": "bridge_interface",
    "BRIDGE": "bridge",
    "LISTENS": "listens",
    "PUBLISHES": "publishes",
    "RUNS": "runs",
    "MTU": "mtu",
}


def _things(topology: Topology) -> list[Bridge | Node]:
    return [*topology.bridges, *topology.nodes]


def as_row(thing: Bridge | Node) -> dict[str, str]:
    """Return a bridge or node as its line of the table: column -> value."""
    kind = "bridge" if isinstance(thing, Bridge) else "node"
    return {"kind": kind} | {column: _format(getattr(thing, column, None)) for column in COLUMNS[1:]}


def as_rows(topology: Topology) -> list[dict[str, str]]:
    """Return all lines of the table, without optional columns that no line uses."""
    rows = [as_row(thing) for thing in _things(topology)]
    unused = {column for column in OPTIONAL_COLUMNS if all(row[column] == NONE for row in rows)}
    return [{column: value for column, value in row.items() if column not in unused} for row in rows]


def _format(value: object) -> str:
    return ",".join(map(str, value)) or NONE if isinstance(value, tuple) else str(value or NONE)


def dump(topology: Topology) -> str:
    """Format the table: columns in standard order, one tab between them, bridges first."""
    rows = as_rows(topology)
    return "".join("\t".join(row) + "\n" for row in [list(rows[0]), *(list(row.values()) for row in rows)])


def as_bash(topology: Topology) -> str:
    """Format the table as declarations of TABLE, BRIDGES, NODES, and a map from name to value for each column."""
    things = _things(topology)
    rows = as_rows(topology)
    lines = [
        f"declare -g TABLE={quote(str(topology.path))}",
        f"declare -ga BRIDGES=({' '.join(bridge.name for bridge in topology.bridges)})",
        f"declare -ga NODES=({' '.join(node.name for node in topology.nodes)})",
        _map("LINE_OF", ((thing.name, str(thing.line)) for thing in things)),
        _map("NETWORK", ((bridge.name, str(bridge.address.network)) for bridge in topology.bridges)),
    ]
    for name, column in _MAPS.items():
        lines.append(_map(name, ((row["name"], row[column]) for row in rows if column in row)))
    return "\n".join(lines) + "\n"


def as_bash_with_services(topology: Topology) -> str:
    """Add the maps NEEDS, READY and SECRETS_OF by program and ENVIRONMENT by node, as supervisord.conf has it."""
    from lab.services import environments, read_programs  # noqa: PLC0415 - most scripts need no services

    programs = read_programs(topology)
    settings = environments(topology, programs)
    maps = {
        "NEEDS": {name: " ".join(program.needs) for name, program in programs.items()},
        "READY": {name: program.ready for name, program in programs.items()},
        "SECRETS_OF": {name: " ".join(program.secrets) for name, program in programs.items()},
        "ENVIRONMENT": {
            node: ",".join(f'{name}="{value}"' for name, value in environment.items())
            for node, environment in settings.items()
        },
    }
    return as_bash(topology) + "".join(_map(name, values.items()) + "\n" for name, values in maps.items())


def _map(name: str, pairs: Iterable[tuple[str, str]]) -> str:
    return f"declare -gA {name}=({' '.join(f'[{key}]={quote(value)}' for key, value in pairs)})"


def quote(text: str) -> str:
    """Quote a word for bash."""
    return "'" + text.replace("'", "'\\''") + "'"


_FORMATS: dict[str, Callable[[Topology], str]] = {
    "dump": dump, "check": lambda _: "", "bash": as_bash, "services": as_bash_with_services,
}  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Run one command; return 0, 1 if the table is not valid, 2 for bad usage.

    A script that calls this sets SCRIPT to its own name, for error messages.
    """
    command, table = [*arguments, "", ""][:2]
    name = os.environ.get("SCRIPT", "topology.py")
    if command in ("", "help"):
        print(__doc__, end="", flush=True)
        return 0
    if command == "running":
        print(*running_tables(), sep="\n")
        return 0
    if command == "own":
        print(own_table_command(table_path(), table))
        return 0
    if command not in _FORMATS:
        print(f'{name}: unknown command "{command}"\n{__doc__}', end="", file=sys.stderr)
        return 2
    try:
        print(_FORMATS[command](load(table)), end="", flush=True)
    except (TopologyError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    return 0


def _set_shell_conventions() -> None:
    """End silently when a pipe's reader closes it; print paths byte for byte."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")


if __name__ == "__main__":
    _set_shell_conventions()
    sys.exit(main(sys.argv[1:]))
