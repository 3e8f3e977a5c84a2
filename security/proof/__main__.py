"""Prove the policy that is in force with probes; called by security/prove.sh, which creates the outside namespace.

python -m security.proof             what passed, and each difference; exit status 1 if any
python -m security.proof --json      all probes as JSON
python -m security.proof --csv FILE  also as CSV
python -m security.proof --png FILE  also as a heat map
python -m security.proof --documents DIRECTORY  instead of text: documents of the policy, isolation and routing
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from lab.network.reading import ReadError
from lab.table import TableError
from lab.terminal import Console
from security.policy.table import load
from security.proof.probe import outside_from_environment
from security.proof.proof import prove
from security.proof.report import as_json, print_proof, write_csv


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return 0 proven, 1 not, 2 bad usage."""
    parser = argparse.ArgumentParser(
        prog="prove", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of text")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write all probes to FILE")
    parser.add_argument("--png", type=Path, metavar="FILE", help="also draw a heat map")
    parser.add_argument("--documents", type=Path, metavar="DIRECTORY", help="write documents instead of text")
    options = parser.parse_args(arguments)
    if "OUTSIDE" not in os.environ:
        parser.error("run it with security/prove.sh, which makes the outside namespace")
    try:
        console, hidden = Console(stderr=True), not sys.stderr.isatty()
        with Progress(console=console, transient=True, disable=hidden) as progress:
            task = progress.add_task("probes")
            proof = prove(
                load(),
                outside_from_environment(),
                lambda count, total: progress.update(task, advance=count, total=total),
            )
    except (TableError, ReadError, OSError, subprocess.CalledProcessError) as error:
        print(f"prove: {error}", file=sys.stderr)
        return 1
    if options.csv:
        write_csv(proof, options.csv)
    if options.png:
        heatmap = importlib.import_module("security.proof.heatmap")  # loads matplotlib, half a second
        heatmap.write_png(proof, options.png)
    if options.documents:
        importlib.import_module("security.documents").write_documents(proof, options.documents)
    elif options.json:
        print(as_json(proof))
    else:
        print_proof(proof, Console(), brief="BRIEF" in os.environ)
    if "PROOF_COUNTS" in os.environ:  # scripts/lab.sh prints the number of checks
        with Path(os.environ["PROOF_COUNTS"]).open("a", encoding="utf-8") as file:
            file.write(f"{proof.tried} probe\n")
    return 1 if proof.differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
