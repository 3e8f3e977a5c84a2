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

import os
import signal
import sys
from collections.abc import Iterable, Sequence

from lab import topology as tables
from lab.topology import Bridge, Node, Topology, TopologyError, load
from lab.topology.reader import COLUMNS, NONE, OPTIONAL_COLUMNS

# Column -> name of the bash array; ADDRESS has an IPv6 address where the table gives no other.
_ARRAYS = {column: column.upper() for column in COLUMNS[2:] if column != "address"} | {
    "bridge_interface": "PORT"
}


def as_rows(topology: Topology) -> list[dict[str, str]]:
    """Return the lines of the table, column -> value, without optional columns that no line uses."""
    things = [("bridge", bridge._asdict()) for bridge in topology.bridges]
    things += [("node", node._asdict()) for node in topology.nodes]
    rows = [
        {column: kind if column == "kind" else _format(fields.get(column)) for column in COLUMNS}
        for kind, fields in things
    ]
    for row in rows:
        row["address"] = NONE if row["address"] == row["address6"] else row["address"]
    unused = {column for column in OPTIONAL_COLUMNS if all(row[column] == NONE for row in rows)}
    return [{column: value for column, value in row.items() if column not in unused} for row in rows]


def _format(value: object) -> str:
    return ",".join(map(str, value)) or NONE if isinstance(value, tuple) else str(value or NONE)


def dump(topology: Topology) -> str:
    """Format the table: columns in standard order, one tab between them, bridges first."""
    rows = as_rows(topology)
    return "".join("\t".join(cells) + "\n" for cells in (rows[0], *(row.values() for row in rows)))


def as_bash(topology: Topology) -> str:
    """Format the table as declarations of TABLE, BRIDGES, NODES, and a map from name to value for each column."""
    rows = as_rows(topology)
    places: list[Bridge | Node] = [*topology.bridges, *topology.nodes]
    lines = [
        f"declare -g TABLE='{topology.path}'",  # no value of a valid table has a quote
        f"declare -ga BRIDGES=({' '.join(bridge.name for bridge in topology.bridges)})",
        f"declare -ga NODES=({' '.join(node.name for node in topology.nodes)})",
        _map("LINE_OF", ((place.name, place.line) for place in places)),
        _map("LABEL", ((node.name, node.label) for node in topology.nodes)),
        _map("ADDRESS", ((place.name, place.address) for place in places)),
        _map("NETWORK", ((bridge.name, bridge.address.network) for bridge in topology.bridges)),
        _map("NETWORK6", ((one.name, one.address6.network) for one in topology.bridges if one.address6)),
    ]
    for column, name in _ARRAYS.items():
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


def _map(name: str, pairs: Iterable[tuple[str, object]]) -> str:
    cells = (f"[{key}]='{value}'" for key, value in pairs)
    return f"declare -gA {name}=({' '.join(cells)})"


def main(arguments: Sequence[str]) -> int:
    """Run one command; return 0, 1 if the table is not valid, 2 for bad usage.

    A script that calls this sets SCRIPT to its own name, for error messages.
    """
    command, table = [*arguments, "", ""][:2]
    name = os.environ.get("SCRIPT", "topology.py")
    try:
        match command:
            case "" | "help":
                text = str(__doc__)
            case "running":
                text = "\n".join([*tables.running_tables(), ""])
            case "own":
                text = tables.own_table_command(tables.table_path(), table) + "\n"
            case "dump":
                text = dump(load(table))
            case "check":
                text = ""
                load(table)
            case "bash":
                text = as_bash(load(table))
            case "services":
                text = as_bash_with_services(load(table))
            case _:
                print(f'{name}: unknown command "{command}"\n{__doc__}', end="", file=sys.stderr)
                return 2
    except (TopologyError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    print(text, end="", flush=True)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # end silently when a pipe's reader closes it
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]  # print paths byte for byte
    sys.exit(main(sys.argv[1:]))
