"""An exercise on the lab that is up. A keeper repairs the lab when the exercise ends, however it ends."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from faults.exercises.behaviour import Behaviour
from faults.exercises.catalogue import Fault
from faults.exercises.place import FOLDER, UP, Place, PlaceError, clean_environment
from lab.topology import ROOT

_TRIES = 3


class Here(Place):
    """The lab that is up on this host."""

    def __init__(self, fault: Fault, variables: Mapping[str, str]) -> None:
        super().__init__(fault, variables)
        FOLDER.mkdir(mode=0o700, exist_ok=True)
        self._lock = (FOLDER / "lock").open("w", encoding="utf-8")  # held until the keeper ends
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PlaceError(
                "another exercise is under way on this lab, or being repaired; leave its shell first"
            ) from None
        self._keeper: subprocess.Popen[str] | None = None

    @property
    def prefix(self) -> Sequence[str]:
        """Return what ends a command with this process; the lab is in this process's namespaces."""
        return ("setpriv", "--pdeathsig", "KILL")

    @property
    def files(self) -> Path:
        """Return FOLDER."""
        return FOLDER

    def prepare(self) -> None:
        """Try whether everything works. Raises PlaceError if anything does not."""
        if failing := self.failing():
            raise PlaceError(f"the lab that is up does not work ({failing}): sudo make up")

    def failing(self) -> str:
        """Return what does not work, in a few words; try again before, because a busy machine may be too slow once."""
        failing: list[Behaviour] = []
        for _ in range(_TRIES):
            failing = [one for one in self.behaviours() if not one.works]
            if not failing:
                return ""
        first = f"{failing[0].name}: {failing[0].detail}"
        return first if len(failing) == 1 else f"{first}, and {len(failing) - 1} more"

    def break_lab(self) -> None:
        """Start the keeper, then run break.sh."""
        commands = [[f"{ROOT}/faults/exercises/commands.sh", self.fault.name, self.fault.repairs[0]]]
        commands += [[f"{ROOT}/{script}", "up"] for script in UP]
        plan = {"commands": commands, "folder": str(FOLDER), "variables": dict(self.variables)}
        self._keeper = subprocess.Popen(
            [sys.executable, "-m", "faults.exercises.keeper"],
            stdin=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=clean_environment(),
            start_new_session=True,  # a closed terminal does not end it
            pass_fds=(self._lock.fileno(),),  # the next exercise waits for the repair
        )
        assert self._keeper.stdin  # noqa: S101 - a pipe
        self._keeper.stdin.write(json.dumps(plan) + "\n")
        self._keeper.stdin.flush()
        self._need(self._run_fault(self.fault.name, "break"), "breaking the lab")

    reset_words = "repaired as by `up`; the lab is broken again"

    def reset(self) -> None:
        """Run the repair and the scripts' `up`, and break again."""
        self._run_fault(self.fault.name, self.fault.repairs[0])
        for script in UP:
            self._need(self.script(script, "up"), f"{script} up")
        self._need(self._run_fault(self.fault.name, "break"), "breaking the lab")

    def uncover(self) -> None:
        """Do nothing: here nothing is hidden."""

    def close(self) -> None:
        """Let the keeper repair the lab, and wait for it."""
        if self._keeper and self._keeper.stdin:
            self._keeper.stdin.close()
            self._keeper.wait()
        self._lock.close()
        shutil.rmtree(FOLDER, ignore_errors=True)
