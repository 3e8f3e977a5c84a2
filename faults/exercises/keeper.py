"""Repair the lab when an exercise on it ends, also if the exercise is killed.

python -m faults.exercises.keeper    reads a plan, one line of JSON, then waits until its standard input is closed

It is a process of its own, in a session of its own: its standard input is closed whenever the exercise ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys


def main() -> int:
    """Wait, then run the plan's commands; return 1 if one of the last ones fails."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    plan = json.loads(sys.stdin.readline())
    sys.stdin.read()
    repair, *rest = plan["commands"]
    _run(repair, plan["variables"])  # fails where the learner has repaired it
    failed = [command[0] for command in rest if not _run(command, {})]
    shutil.rmtree(plan["folder"], ignore_errors=True)
    return 1 if failed else 0


def _run(command: list[str], variables: dict[str, str]) -> bool:
    return not subprocess.run(
        command,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
