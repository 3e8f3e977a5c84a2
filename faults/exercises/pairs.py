"""Break two faults at once: `make diagnose` must name both causes among its first three findings.

python -m faults.exercises.pairs COUNT [SEED]

Runs in a sandbox with a lab that is up and well (PAIRS=COUNT faults/exercise.sh test). Each seed, from SEED on, chooses
two faults of different areas. One must not hide the other by definition, so these are not paired:

- faults that use the same node: what runs behind a wire that is down does not show;
- a fault that stops all programs, or a whole bridge, with any other;
- faults whose causes have the same object and place.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from faults.exercises.catalogue import Fault, load_catalogue
from faults.exercises.trial import GREEN_SECONDS, RED_SECONDS, Trial, diagnosis, print_result, restore, wait
from lab.topology import ROOT, Topology, load
from security.diagnose.finding import Kind

_FIRST = 3  # findings among which both causes must be
_HIDING = (Kind.SUPERVISOR_STOPPED, Kind.DISK_FULL)  # they stop all programs
_NODES = ("", "PEER_", "OTHER_")


@dataclass(frozen=True)
class Pair:
    """Two faults with one seed."""

    first: Trial
    second: Trial

    @property
    def trials(self) -> tuple[Trial, Trial]:
        """Both, in the order in which they are broken."""
        return self.first, self.second

    def __str__(self) -> str:
        """Name both faults."""
        return f"{self.first.fault.name} + {self.second.fault.name}"

    def problems(self, folder: Path) -> Iterator[str]:
        """Break both, diagnose, undo both; yield what is not as it should be."""
        for trial in self.trials:
            if failed := trial.run("break"):
                yield f"{trial.fault.name}: {failed}"
        wait(red=True, seconds=RED_SECONDS)
        yield from self._not_named()
        for trial in reversed(self.trials):
            trial.run(trial.fault.repairs[0])
        if left := restore(folder):
            yield f"left after reset: {left}"
        elif failing := wait(red=False, seconds=GREEN_SECONDS):
            yield f"red after reset: {'; '.join(failing[:3])}"

    def _not_named(self) -> Iterator[str]:
        """Diagnose until both are named, as long as a fault may take to show; yield what is not named in the end."""
        deadline = time.monotonic() + RED_SECONDS
        while True:
            found = diagnosis()
            named = [{key: item.get(key) for key in ("kind", "object", "place")} for item in found[:_FIRST]]
            missing = [trial for trial in self.trials if trial.cause not in named]
            if not missing or time.monotonic() > deadline:
                break
        rest = [
            f"{item.get('kind')} {item.get('object')} {item.get('place')}" for item in found[: _FIRST + 1]
        ]
        for trial in missing:
            yield f"diagnose does not name {trial.cause} among its first {_FIRST}: {rest}"


def choose_pair(faults: Sequence[Fault], seed: int, topology: Topology, folder: Path) -> Pair | None:
    """Choose two faults that can be distinguished; None if the catalogue has no such pair."""
    choice = random.Random(seed)  # noqa: S311 - it only varies the pairs
    pairs = list(combinations(faults, 2))
    choice.shuffle(pairs)
    for one, other in pairs:
        if one.area == other.area:
            continue
        pair = Pair(*(Trial.of(fault, seed, topology, folder) for fault in (one, other)))
        if not hides_each_other(pair):
            return pair
    return None


def hides_each_other(pair: Pair) -> bool:
    """Decide whether one of the faults hides the other by definition (the head of this file)."""
    one, other = pair.trials
    causes = [(trial.cause["object"], trial.cause["place"]) for trial in pair.trials]
    return any(map(_hides_all, pair.trials)) or causes[0] == causes[1] or bool(_nodes(one) & _nodes(other))


def _hides_all(trial: Trial) -> bool:
    """Decide whether a fault stops all programs, or a whole bridge."""
    return trial.cause["kind"] in _HIDING or trial.cause["object"] == trial.environment["BRIDGE"]


def _nodes(trial: Trial) -> set[str]:
    """Return the namespaces of the nodes that the fault's cause and commands use."""
    fault = trial.fault
    text = "".join((fault.folder / name).read_text(encoding="utf-8") for name in ("break.sh", "fault.toml"))
    names = {prefix: (f"${prefix}", f"${{{prefix}") for prefix in _NODES[1:]}
    used = {""} | {prefix for prefix, words in names.items() if any(word in text for word in words)}
    return {trial.environment[f"{prefix}NAMESPACE"] for prefix in used}


def main(arguments: Sequence[str]) -> int:
    """Run the command line."""
    count, seed = int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 1
    topology, failed = load(), 0
    faults = [fault for fault in load_catalogue() if topology.path.stem in fault.topologies]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([f"{ROOT}/faults/exercises/state.sh", "save", folder], check=True)
        for number in range(seed, seed + count):
            pair, begin = choose_pair(faults, number, topology, folder), time.monotonic()
            if pair is None:
                print("the catalogue has no two faults of different areas that do not hide each other")
                return 1
            problems = list(pair.problems(folder))
            failed += bool(problems)
            print_result(f"{pair} seed {number} on {topology.path.stem}", problems, time.monotonic() - begin)
    print(f"both causes among the first {_FIRST} findings: {count - failed} of {count} pairs")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
