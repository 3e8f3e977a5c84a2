"""The learner's processes in a sandbox. Some wait while a fault's commands run, because `ps` would show those."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def paused(first_process: int) -> Iterator[None]:
    """Stop the programs that the learner runs beside the command that is being answered, in each terminal.

    The shells themselves go on: a program that waits for them would take them for stopped.
    """
    stopped = list(_programs(first_process))
    for pid in stopped:
        _send(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            _send(pid, signal.SIGCONT)


def _programs(first_process: int) -> Iterator[int]:
    """Yield the processes of the sandbox that have a terminal, but for its shells and the exercise's own command."""
    namespace = _namespace(first_process)
    for path in Path("/proc").glob("[0-9]*"):
        pid = int(path.name)
        with suppress(OSError, ValueError):
            if _namespace(pid) != namespace:
                continue
            # proc(5): pid (comm) state ppid pgrp session tty_nr; a comm may have blanks and brackets
            words = (path / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            parent, session, terminal = int(words[1]), int(words[3]), int(words[4])
            is_shell = (
                session == pid or _namespace(parent) != namespace
            )  # in the page's terminal; in another one
            if terminal and not is_shell and b"/ask.py\0" not in (path / "cmdline").read_bytes():
                yield pid


def _namespace(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/pid")


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
