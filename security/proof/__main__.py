"""Proves the policy that is in force, by trying; called through security/prove.sh, which makes the world.

python -m security.proof             a matrix on the terminal, and each difference; exit status 1 if any
python -m security.proof --json      all probes as JSON
python -m security.proof --csv FILE  also as CSV
python -m security.proof --png FILE  also as a heat map
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich import box
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from lab.csv_files import write_rows
from lab.table import TableError
from lab.terminal import Console
from security.policy.model import HOST, WORLD
from security.policy.table import load
from security.proof.nflog import Occupied
from security.proof.probe import Outside
from security.proof.report import COLUMNS, Difference, Proof, open_flows, prove, rows

_WIDE = 12  # a matrix with more sources is shown in numbers
_FEW = 10  # differences that are shown one by one
_TITLE = "What was seen to pass (u: UDP)"


def matrix(proof: Proof) -> Table:
    """Draw who reaches whom, by ports."""
    nodes = [node.name for node in proof.policy.topology.nodes]
    flows, tried = (
        open_flows(proof),
        {(outcome.probe.flow.source, outcome.probe.flow.destination) for outcome in proof.outcomes},
    )
    wrong = {
        (outcome.probe.flow.source, outcome.probe.flow.destination)
        for outcome in proof.outcomes
        if not outcome.as_expected
    }
    table = Table(
        "from \\ to",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=_TITLE,
        title_justify="left",
    )
    places = [*nodes, HOST, WORLD]
    for place in places:
        table.add_column(place, overflow="fold")
    for source in places:
        cells = [
            _cell(flows.get((source, to), []), (source, to) in tried, (source, to) in wrong) for to in places
        ]
        table.add_row(source, *cells)
    return table


def _cell(flows: Sequence[str], tried: bool, wrong: bool) -> Text:
    if not tried:
        return Text("")
    said = "all" if "any" in flows else " ".join(flows) or "."
    return Text(said + (" !" if wrong else ""), style="bold red" if wrong else "green" if flows else "dim")


def as_list(proof: Proof) -> Table:
    """Say the same as the matrix in lines, for a narrow terminal."""
    flows = open_flows(proof)
    places = [*(node.name for node in proof.policy.topology.nodes), HOST, WORLD]
    table = Table(
        "from", "to", "ports", box=box.SIMPLE_HEAD, pad_edge=False, title=_TITLE, title_justify="left"
    )
    for source in places:
        reached: defaultdict[str, list[str]] = defaultdict(list)
        for to in places:
            if found := flows.get((source, to), []):
                reached["all" if "any" in found else " ".join(found)].append(to)
        lines = [(" ".join(destinations), ports) for ports, destinations in reached.items()]
        for number, line in enumerate(lines or [("nobody", "")]):
            table.add_row("" if number else source, *line)
    return table


def fitting(proof: Proof, console: Console) -> Table:
    """Give the matrix if the console has room for it without folding, else the list."""
    drawn = matrix(proof)
    room = console.options.update(max_width=10_000)
    return drawn if console.measure(drawn, options=room).maximum <= console.width else as_list(proof)


def show(proof: Proof, console: Console, *, brief: bool = False) -> None:
    """Show who reaches whom unless brief, the differences, and the sum of it."""
    if not brief and len(proof.policy.topology.nodes) <= _WIDE:
        console.print(fitting(proof, console))
    for line in grouped(proof.differences):
        console.print(Text.assemble(("  differs ", "bold red"), line), soft_wrap=True)
    console.print(Text(proof.summary, style="bold red" if proof.differences else "green"), soft_wrap=True)
    if len(proof.differences) > _FEW:
        console.print("  one cause may be behind them: sudo make status names what drifted", soft_wrap=True)
        console.print("  sudo make prove writes every probe to reports/proof.csv", soft_wrap=True)


def grouped(differences: Sequence[Difference]) -> Iterator[str]:
    """Say a few differences one by one; of more, the first of each kind and how many are like it."""
    kinds: defaultdict[str, list[Difference]] = defaultdict(list)
    for number, difference in enumerate(differences):
        kinds[difference.why if len(differences) > _FEW else str(number)].append(difference)
    for alike in kinds.values():
        more = f" ({len(alike) - 1} more like it)" if len(alike) > 1 else ""
        yield f"{alike[0].flow}: {alike[0].why}{more}"


def as_json(proof: Proof) -> str:
    """Write everything for programs."""
    return json.dumps(
        {
            "policy": str(proof.policy.path),
            "topology": str(proof.policy.topology.path),
            "seconds": round(proof.seconds, 2),
            "tried": proof.tried,
            "differences": [
                {"flow": difference.flow, "why": difference.why} for difference in proof.differences
            ],
            "probes": [dict(zip(COLUMNS, row, strict=True)) for row in rows(proof)],
        },
        indent=1,
    )


def write_csv(proof: Proof, path: Path) -> None:
    """Write a row a probe."""
    write_rows(path, COLUMNS, rows(proof))


def outside_of_proof() -> Outside:
    """Read from the environment what security/prove.sh has made."""
    names = ("OUTSIDE_NAMESPACE", "OUTSIDE_INTERFACE", "OUTSIDE", "HOST_FOR_OUTSIDE")
    return Outside(*(os.environ[name] for name in names))


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks; 0 proven, 1 not, 2 bad usage."""
    parser = argparse.ArgumentParser(
        prog="prove", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of text")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all probes there, too")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw a heat map there, too")
    options = parser.parse_args(arguments)
    if "OUTSIDE" not in os.environ:
        parser.error("call it by security/prove.sh, which makes the world")
    try:
        proof = _prove_with_progress()
    except (TableError, OSError, Occupied, subprocess.CalledProcessError) as error:
        print(f"prove: {error}", file=sys.stderr)
        return 1
    if options.csv:
        write_csv(proof, options.csv)
    if options.png:
        heatmap = importlib.import_module("security.proof.heatmap")  # loads matplotlib, half a second
        heatmap.write_png(proof, options.png)
    if options.json:
        print(as_json(proof))
    else:
        show(proof, Console(width=None if sys.stdout.isatty() else 200), brief="BRIEF" in os.environ)
    if "PROOF_COUNTS" in os.environ:
        with Path(os.environ["PROOF_COUNTS"]).open("a", encoding="utf-8") as file:
            file.write(f"{proof.tried} probe\n")
    return 1 if proof.differences else 0


def _prove_with_progress() -> Proof:
    policy, outside = load(), outside_of_proof()
    if not sys.stderr.isatty():
        return prove(policy, outside)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("probes")
        return prove(policy, outside, lambda count, total: progress.update(task, advance=count, total=total))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
