"""Grade the lab by its behaviour, for `check` of an exercise.

python -m faults.exercises.check save FILE       write all behaviours, as JSON
python -m faults.exercises.check grade FILE [--json]  compare with FILE, saved after the break; exit 1 if any fails
python -m faults.exercises.check all [--json]    print those that fail; exit 1 if any does

faults/exercise.sh calls it, after it has made the outside namespace.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path

from rich.table import Table
from rich.text import Text

from faults.exercises.behaviour import Behaviour, Lab
from faults.exercises.behaviours import try_all
from lab.terminal import Console
from lab.topology import load as load_topology
from security.policy.table import load as load_policy
from security.policy.table import policy_path
from security.proof.probe import outside_from_environment


class Grade(StrEnum):
    """How a behaviour compares with the moment after the break."""

    WORKS = "works"
    REPAIRED = "repaired"
    BROKEN = "still broken"
    BROKEN_BY_YOU = "broken since"


def grades(now: Sequence[Behaviour], after_break: Sequence[Behaviour]) -> list[tuple[Grade, Behaviour]]:
    """Compare each behaviour with the same one after the break; one without a result then is never "broken since"."""
    worked = {behaviour.name: behaviour.works for behaviour in after_break}
    found = []
    for behaviour in now:
        before = worked.get(behaviour.name)
        if behaviour.works:
            grade = Grade.REPAIRED if before is False else Grade.WORKS
        else:
            grade = Grade.BROKEN_BY_YOU if before else Grade.BROKEN
        found.append((grade, behaviour))
    return found


def both(first: Sequence[Behaviour], second: Sequence[Behaviour]) -> list[Behaviour]:
    """Join two runs: what failed in one of them fails, because some faults occur only now and then."""
    failed = {behaviour.name for behaviour in (*first, *second) if not behaviour.works}
    joined = {behaviour.name: behaviour for behaviour in (*second, *first)}
    return [replace(one, works=one.name not in failed) for one in joined.values()]


def show(found: Sequence[tuple[Grade, Behaviour]], console: Console) -> None:
    """Print what is repaired and what fails; what always worked is one number."""
    styles = {Grade.REPAIRED: "green", Grade.BROKEN: "red", Grade.BROKEN_BY_YOU: "bold red"}
    table = Table(box=None, show_header=False, padding=(0, 1))
    for grade, style in styles.items():
        for of, behaviour in found:
            if of is grade:
                table.add_row(Text(grade, style), behaviour.name, behaviour.detail)
    works = sum(grade is Grade.WORKS for grade, _ in found)
    if table.row_count:
        console.print(table)
    console.print(f"{works} other behaviours work")


def main(arguments: Sequence[str]) -> int:
    """Run the command line."""
    words = [word for word in arguments if word != "--json"]
    topology = load_topology()
    lab = Lab(topology, load_policy(topology) if policy_path(topology) else None, outside_from_environment())
    now = try_all(lab)
    match words:
        case ["save", file]:
            Path(file).write_text(json.dumps([asdict(behaviour) for behaviour in now]), encoding="utf-8")
            return 0
        case ["grade", file]:
            saved = [Behaviour(**item) for item in json.loads(Path(file).read_text(encoding="utf-8"))]
        case ["all"]:
            saved = []
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    found = grades(now, saved)
    if "--json" in arguments:
        print(json.dumps([{"grade": grade, **asdict(behaviour)} for grade, behaviour in found]))
    else:
        show(found, Console(width=None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "160"))))
    return 0 if all(behaviour.works for behaviour in now) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
