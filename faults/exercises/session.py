"""Run an exercise: choose it, break a lab, give the learner a shell in it, keep the result.

python -m faults.exercises.session [NAME] [--level N] [--seed N] [--here | --page PORT] [--json]

NAME is an exercise of `make exercises`, or the folder of its fault. Without it the first one that is not solved begins,
of the level if one is given. --json prints the result at the end. faults/exercise.sh start calls it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from faults.exercises import texts
from faults.exercises.answers import Answers
from faults.exercises.behaviour import Behaviour
from faults.exercises.catalogue import MAX_LEVEL, CatalogueError, Fault, find_fault, load_catalogue
from faults.exercises.check import both
from faults.exercises.exercise import Exercise
from faults.exercises.here import Here
from faults.exercises.place import FOLDER, Place, PlaceError, Sandbox
from faults.exercises.progress import (
    Attempt,
    Outcome,
    ProgressError,
    attempts_file,
    progress_of,
    read_attempts,
)
from faults.exercises.server import Server
from faults.exercises.targets import variables
from lab.terminal import Console
from lab.topology import Topology, TopologyError, base_table, load

_RED_SECONDS = 15.0  # until a fault shows
_MAX_SEED = 999
_WIDTH = 110


def choose(options: argparse.Namespace, attempts: Sequence[Attempt], table: str) -> Fault:
    """Return the exercise that was asked for, or the first that is not solved. Raises CatalogueError."""
    if options.name:
        fault = find_fault(options.name)
        if table not in fault.topologies:
            raise CatalogueError(
                f"the exercise {fault.slug} is for TOPOLOGY={' or '.join(fault.topologies)}, not {table}"
            )
        if options.here and fault.beyond_the_lab:
            raise CatalogueError(
                f"the exercise {fault.slug} would also change what is not the lab's on this host: leave out HERE=1"
            )
        return fault
    fitting = [
        fault
        for fault in load_catalogue()
        if table in fault.topologies
        and options.level in (None, fault.level)
        and not (options.here and fault.beyond_the_lab)
    ]
    unsolved = [fault for fault in fitting if not progress_of(fault.slug, attempts).solved]
    if not fitting:
        raise CatalogueError(f"there is no exercise of level {options.level} for TOPOLOGY={table}")
    return (unsolved or fitting)[0]


def run(options: argparse.Namespace) -> int:
    """Run one exercise from its beginning to its end."""
    file = attempts_file()
    attempts = read_attempts(file)  # report a damaged file before the work, not after it
    topology = load()
    table = Path(base_table(topology.path)).stem
    fault = choose(options, attempts, table)
    seed = options.seed if options.seed is not None else random.randrange(1, _MAX_SEED)  # noqa: S311 - no secret
    place = _place(fault, seed, topology, here=options.here)
    with closing(place):
        after_break = _break(place)
        exercise = Exercise(place, seed, table, after_break, file, here=options.here)
        Server(place.files / "socket", Answers(exercise).answer)
        url = place.start_page(options.page) if options.page and isinstance(place, Sandbox) else ""
        _introduce(place, seed, table, url)
        place.shell()
        _say("deleting the sandbox" if not options.here else "repairing the lab (about 5 s)")
        result = exercise.end(Outcome.LEFT)
    _conclude(exercise, result, as_json=options.json)
    return _here_is_well(place) if isinstance(place, Here) else 0


def _place(fault: Fault, seed: int, topology: Topology, *, here: bool) -> Place:
    """Return a lab that is up and well. Raises PlaceError."""
    chosen = variables(fault, seed, topology)
    for text in (fault.symptom, *fault.hints, *vars(fault.cause).values()):
        texts.filled(text, chosen)  # report an unknown variable now
    place: Here | Sandbox
    if here:
        _say("checking that the lab works (about 4 s)")
        place = Here(fault, chosen)
    else:
        _say("bringing a lab up in a sandbox (about 10 s)")
        place = Sandbox(fault, chosen)
    try:
        place.prepare()
    except BaseException:
        place.close()
        raise
    return place


def _break(place: Place) -> list[Behaviour]:
    """Break the lab and wait until that shows; return the behaviours then. Raises PlaceError."""
    _say("breaking it, and waiting for the symptom (about 8 s)")
    place.break_lab()
    deadline = time.monotonic() + _RED_SECONDS
    while True:
        behaviours = place.behaviours()
        if not all(one.works for one in behaviours):
            return both(behaviours, place.behaviours())
        if time.monotonic() > deadline:
            raise PlaceError(
                f"the fault has no symptom on this machine: make exercise-test NAME={place.fault.slug}"
            )


def _introduce(place: Place, seed: int, table: str, url: str) -> None:
    console = Console()
    console = Console(width=min(console.width, _WIDTH))
    console.print()
    console.print(texts.symptom(place))
    console.print(texts.command_table(place.fault))
    console.print()
    if isinstance(place, Sandbox):
        sudo = "sudo " if os.environ.get("SUDO_USER") else ""
        console.print(
            f"You are root on a virtual host (TOPOLOGY={table} SEED={seed}); leaving this shell deletes it."
        )
        console.print(f"A second terminal: {sudo}scripts/sandbox.sh enter {place.pid}")
        if url:
            console.print(f"The page, with the map, terminals and these commands: {url}", soft_wrap=True)
    else:
        console.print(f"This is the lab that is up (SEED={seed}); leaving this shell repairs it.")
        console.print(f"A second terminal: any root shell; for the commands above, . {FOLDER}/rc")
        console.print("Nothing is hidden here: faults/catalogue and `make diagnose` show the cause.")
    console.print()


def _conclude(exercise: Exercise, result: Attempt, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(result), indent=1))
    if result.outcome is Outcome.SOLVED:
        _say(f"solved in {texts.duration(result.seconds)}: {result.score} of {result.points} points")
    else:
        _say(f"not solved ({result.outcome}); again: make exercise NAME={result.exercise} SEED={result.seed}")
    if exercise.complaint:
        _say(exercise.complaint)


def _here_is_well(place: Here) -> int:
    """Try whether leaving repaired the lab; return 1 if it did not."""
    if failing := place.failing():
        _say(f"the lab still does not work ({failing}): sudo make diagnose")
        return 1
    _say("the lab is repaired: everything works")
    return 0


def _say(text: str) -> None:
    print(f"exercise: {text}", file=sys.stderr, flush=True)


def _end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main(arguments: Sequence[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="exercise", description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--level", type=int, choices=range(1, MAX_LEVEL + 1))
    parser.add_argument("--seed", type=int)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--here", action="store_true")
    where.add_argument("--page", type=int)
    parser.add_argument("--json", action="store_true")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        return run(parser.parse_args(arguments))
    except (CatalogueError, PlaceError, ProgressError, TopologyError) as error:
        _say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
