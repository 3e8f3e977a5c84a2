"""The table of faults and their promises (faults.tsv), and the nodes of each fault.

python -m faults.chaos.promises [--quick] [FAULT...]    FAULT NODE SECONDS, one per line; without FAULT all
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lab.topology import Topology, load, table_path

FAULTS = Path(__file__).with_name("faults.tsv")
KINDS = {"get": "gets", "read": "reads", "order": "orders", "mistake": "mistakes"}


class Allowed(StrEnum):
    """The failures that a promise allows."""

    NONE = "none"
    REFUSED = "503"
    SEEN = "503!"
    ANY = "any"


class Count(StrEnum):
    """Number of a program's nodes that fail: each in turn (with QUICK=1 one), only one, or all at once."""

    EACH = ""
    ONE = "one"
    ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Promise:
    """A line of the table; times in seconds, None promises nothing. `names` is None for "until `back`"."""

    fault: str
    program: str
    count: Count
    hold: float
    quick: float | None
    allowed: Mapping[str, Allowed]  # key: kind of sample
    names: float | None
    p99_ms: float | None
    noticed: float | None
    back: float
    what: str


def load_promises(path: Path = FAULTS) -> list[Promise]:
    """Return the promises; raise ValueError with file and line for an invalid line."""
    header: list[str] = []
    promises = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        cells = [cell for cell in line.split("\t") if cell]
        if not line or line.startswith("#"):
            continue
        if not header:
            header = cells
            continue
        try:
            promises.append(read_promise(dict(zip(header, cells, strict=True))))
        except (ValueError, KeyError) as failure:
            raise ValueError(f"{path}:{number}: {failure}") from failure
    return promises


def read_promise(row: Mapping[str, str]) -> Promise:
    """Return the promise in a row."""
    program, _, count = row["nodes"].partition(":")
    names = {"none": 0.0, "end": None}
    return Promise(
        fault=row["fault"],
        program=program,
        count=Count(count),
        hold=float(row["hold"]),
        quick=read_number(row["quick"]),
        allowed={kind: Allowed(row[column]) for kind, column in KINDS.items()},
        names=names[row["names"]] if row["names"] in names else float(row["names"]),
        p99_ms=read_number(row["p99_ms"]),
        noticed=read_number(row["noticed"]),
        back=float(row["back"]),
        what=row["what"],
    )


def read_number(text: str) -> float | None:
    """Return the number, None for "-"."""
    return None if text == "-" else float(text)


def nodes_of(promise: Promise, topology: Topology, quick: bool) -> list[str]:
    """Return the targets of a fault, in turn: nodes (for one of several, the second), or a program."""
    nodes = [node.name for node in topology.nodes_running(promise.program)]
    if promise.program == "-" or (nodes and promise.count is Count.ALL):
        return [promise.program]
    return nodes[:2][-1:] if quick or promise.count is Count.ONE else nodes


def main() -> None:
    """Print the plan."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("faults", nargs="*")
    options = parser.parse_args()
    promises = load_promises()
    unknown = sorted(set(options.faults) - {promise.fault for promise in promises})
    if unknown:
        raise SystemExit(f"chaos: {FAULTS} has no fault {unknown[0]}")
    print_plan(promises, options.faults, options.quick)


def print_plan(promises: Sequence[Promise], wanted: Sequence[str], quick: bool) -> None:
    """Print a line for each fault and node; include every fault that is in `wanted`."""
    topology = load(table_path())
    for promise in promises:
        seconds = promise.quick if quick and not wanted else promise.hold
        if seconds is None or (wanted and promise.fault not in ("calm", *wanted)):
            continue
        for node in nodes_of(promise, topology, quick or bool(wanted)):
            print(promise.fault, node, f"{seconds:g}")


if __name__ == "__main__":
    main()
