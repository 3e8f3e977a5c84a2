"""Prove exercises: the check sees the fault, right repairs repair it, wrong ones do not, and reset leaves nothing.

python -m faults.exercises.trial [--seeds 1,2,3] [--sample] [--reports FOLDER] [NAME...]

Runs in a sandbox with a lab that is up and well (faults/exercise.sh test). For each fault and seed:
break -> the check is red, `make diagnose` names the cause first, and status says what fault.toml claims; each right
repair, and `make up` where fault.toml claims it -> green, no finding; each wrong repair -> red; after each reset -> the
host is as it was before.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from faults.exercises.catalogue import CatalogueError, Fault, fill_in, find_fault, load_catalogue
from faults.exercises.confusion import NOTHING, Confusion, show, write
from faults.exercises.targets import variables
from lab.terminal import Console
from lab.topology import ROOT, Topology, load

RED_SECONDS, GREEN_SECONDS = 12.0, 25.0  # until a fault shows, and until a repair does
_SETTLE_SECONDS = 3.0  # after a wrong repair
_PARTS_OF_UP = ("security/policy.sh", "scripts/network.sh", "scripts/nat.sh", "scripts/services.sh")
UP = "make up"  # tried like a repair of the fault


def failing() -> list[str]:
    """Return the behaviours that fail."""
    output = _output(f"{ROOT}/faults/exercise.sh", "check", "all", "--json")[1]
    if not output:
        return ["the check itself failed"]
    return [f"{item['name']} ({item['detail']})" for item in json.loads(output) if not item["works"]]


def wait(*, red: bool, seconds: float) -> list[str]:
    """Check until some behaviour fails (red) or none does; return those of the last check."""
    deadline = time.monotonic() + seconds
    while True:
        found = failing()
        if bool(found) == red or time.monotonic() > deadline:
            return found


def diagnosis() -> list[dict[str, object]]:
    """Return the findings of `make diagnose`, the first first."""
    output = _output(f"{ROOT}/scripts/diagnose.sh", "run", "--json")[1]
    try:
        return list(json.loads(output)["findings"])
    except ValueError:
        return [{"kind": f"diagnose failed: {output[-300:]}"}]


def restore(folder: Path) -> str:
    """Restore the saved state of the host; return what differs then."""
    for command in ("restore", "diff"):
        status, output = _output(f"{ROOT}/faults/exercises/state.sh", command, str(folder))
        if status:
            return f"{command}: {output[-400:]}"
    return ""


def _output(*command: str) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout or (done.stderr if done.returncode else "")


@dataclass
class Trial:
    """One fault with one seed; `first` is the kind that diagnose named first."""

    fault: Fault
    environment: Mapping[str, str]
    cause: dict[str, str]
    folder: Path  # of the saved state
    first: str = NOTHING

    @classmethod
    def of(cls, fault: Fault, seed: int, topology: Topology, folder: Path) -> Trial:
        """Choose the nodes of a fault by the seed."""
        chosen = variables(fault, seed, topology)
        cause = {key: fill_in(text, chosen) for key, text in vars(fault.cause).items()}
        for text in (fault.symptom, *fault.hints):
            fill_in(text, chosen)  # raises CatalogueError for an unknown variable
        return cls(fault, os.environ | chosen, cause, folder)

    def run(self, function: str) -> str:
        """Run break.sh or a repair; return what failed, empty if nothing did."""
        command = [f"{ROOT}/faults/exercises/commands.sh", self.fault.name, function]
        done = subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return f"{function}: {done.stderr[-300:]}" if done.returncode else ""

    def reset(self) -> str:
        """Undo the break and restore the host; return what differs then."""
        self.run(self.fault.repairs[0])
        return restore(self.folder)

    def all_repairs(self) -> list[str]:
        """Return the right and the wrong repairs; `make up` is one if fault.toml makes a claim for it."""
        return [*self.fault.repairs, *([UP] if self.fault.status else []), *self.fault.wrong_repairs]

    def some_repairs(self, seed: int) -> list[str]:
        """Return one right and one wrong repair, chosen by the seed."""
        wrong = self.fault.wrong_repairs
        right = [function for function in self.all_repairs() if function not in wrong]
        return [right[seed % len(right)], wrong[seed % len(wrong)]]

    def problems(self, functions: Sequence[str]) -> Iterator[str]:
        """Break and repair with each function; yield what is not as it should be, and stop if a reset fails."""
        for at, function in enumerate(functions):
            if failed := self.run("break"):
                yield failed
            elif at == 0:
                yield from self._after_break()
            yield from self._after_repair(function)
            if left := self.reset():
                yield f"left after reset of {function}: {left}"
                return
        if red := wait(red=False, seconds=GREEN_SECONDS):
            yield f"red after the last reset: {'; '.join(red[:3])}"

    def _after_break(self) -> Iterator[str]:
        if not wait(red=True, seconds=RED_SECONDS):
            yield "green after break"
        if self.fault.status:
            yield from self._status_says()
        found = diagnosis()
        self.first = str(found[0].get("kind")) if found else NOTHING
        first = {key: found[0].get(key) for key in self.cause} if found else {}
        if first != self.cause:
            rest = [f"{item.get('kind')} {item.get('object')} {item.get('place')}" for item in found[:4]]
            yield f"diagnose does not name {self.cause} first: {rest}"

    def _status_says(self) -> Iterator[str]:
        """Wait until `make status` fails, and says what fault.toml claims."""
        pattern = fill_in(self.fault.status, {key: re.escape(text) for key, text in self.environment.items()})
        deadline = time.monotonic() + RED_SECONDS
        while True:
            status, output = _output(f"{ROOT}/scripts/lab.sh", "status")
            if status and re.search(pattern, output, re.MULTILINE):
                return
            if time.monotonic() > deadline:
                yield f"status does not say {pattern}: exit {status}: {output.partition('services')[2][-600:]}"
                return

    def repair_by_up(self) -> str:
        """Run the parts of `make up`, after the commands that status names if up is not enough; return what failed."""
        output = _output(f"{ROOT}/scripts/lab.sh", "status")[1]
        named = re.findall(r"^foreign .*: sudo (.*)$", output, re.MULTILINE)
        if not self.fault.up_heals and not named:
            return self.run(self.fault.repairs[0])  # the claim is the pattern alone
        commands = [] if self.fault.up_heals else named
        by_up = _output("bash", "-c", f"DRY_RUN=1 {ROOT}/scripts/lab.sh up 2>&1")[1] if commands else ""
        for command in commands:
            if command not in by_up:
                return f"up does not name: {command}"
            status, output = _output("bash", "-c", command)
            if status:
                return f"{command}: {output[-300:]}"
        for script in _PARTS_OF_UP:
            status, output = _output(f"{ROOT}/{script}", "up")
            if status:
                return f"{script} up: {output[-300:]}"
        return ""

    def _after_repair(self, function: str) -> Iterator[str]:
        if failed := self.repair_by_up() if function == UP else self.run(function):
            yield failed
        if function.startswith("wrong_"):
            time.sleep(_SETTLE_SECONDS)
            if not wait(red=True, seconds=_SETTLE_SECONDS):  # an intermittent fault has good moments
                yield f"green after {function}"
            return
        if red := wait(red=False, seconds=GREEN_SECONDS):
            yield f"red after {function}: {'; '.join(red[:3])}"
        elif found := diagnosis():
            yield f"diagnose after {function}: {found[0]}"


def try_faults(
    faults: Sequence[Fault], seeds: Sequence[int], folder: Path, *, sample: bool
) -> tuple[int, Confusion]:
    """Try each fault with each seed and print the results; return how many failed, and what diagnose named first."""
    topology, failed, confusion = load(), 0, Confusion()
    for seed, fault in product(seeds, faults):
        if topology.path.stem not in fault.topologies:
            continue
        trial, begin = Trial.of(fault, seed, topology, folder), time.monotonic()
        found = list(trial.problems(trial.some_repairs(seed) if sample else trial.all_repairs()))
        failed += bool(found)
        confusion[fault.cause.kind, trial.first] += 1
        print_result(f"{fault.name} seed {seed} on {topology.path.stem}", found, time.monotonic() - begin)
    return failed, confusion


def print_result(what: str, problems: Sequence[str], seconds: float) -> None:
    """Print one result as a line, and a line for each problem."""
    print(f"{'not ok' if problems else 'ok'} {what} ({seconds:.0f} s)")
    print(*(f"  {problem}\n" for problem in problems), sep="", end="", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="exercise-test", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", default="1")
    parser.add_argument(
        "--sample", action="store_true", help="only one right and one wrong repair of each fault"
    )
    parser.add_argument("--reports", type=Path, help="write the confusion table there")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args(arguments)
    try:
        faults = [find_fault(name) for name in options.names] if options.names else load_catalogue()
    except CatalogueError as error:
        print(f"exercise-test: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([f"{ROOT}/faults/exercises/state.sh", "save", folder], check=True)
        seeds = [int(seed) for seed in options.seeds.split(",")]
        failed, confusion = try_faults(faults, seeds, Path(folder), sample=options.sample)
    if len(faults) > 1:
        show(confusion, Console(width=None if sys.stdout.isatty() else 160))
    if options.reports and not options.names:
        write(confusion, options.reports / f"confusion_{load().path.stem}.csv")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
