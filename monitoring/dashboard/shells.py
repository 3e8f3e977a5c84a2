"""Shells on pseudo terminals. A shell ends with all processes of its session.

If this process is killed, the kernel hangs up the terminals, which ends what does not ignore SIGHUP.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ptyprocess import PtyProcess  # type: ignore[import-untyped] # it has no types

_CHUNK = 1 << 14
_MAX_SIZE = 1000  # rows or columns
_GRACE_SECONDS = 2.0  # between SIGHUP and SIGKILL

_open: set[Shell] = set()


def are_open() -> bool:
    """Return whether any shell runs."""
    return bool(_open)


class Shell:
    """A program on a pseudo terminal, in a session of its own. Raises OSError if it cannot be started."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self._process = PtyProcess.spawn(list(command), cwd=str(folder), env=dict(environment))
        self.terminal: int = self._process.fd
        self.pid: int = self._process.pid
        os.set_blocking(self.terminal, False)
        self.ended = os.pidfd_open(self.pid)  # readable when the program has ended
        _open.add(self)

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of the terminal, in characters."""
        self._process.setwinsize(*(max(1, min(size, _MAX_SIZE)) for size in (rows, columns)))

    def read(self) -> bytes:
        """Return what was printed; b"" if there is nothing, or if no process has the terminal open."""
        try:
            return os.read(self.terminal, _CHUNK)
        except OSError:  # EAGAIN; EIO: no process has it open
            return b""

    def write(self, data: bytes) -> int:
        """Type; return the number of bytes written. Raises BlockingIOError if the program does not read."""
        return os.write(self.terminal, data)

    def end(self) -> int | None:
        """Hang up, kill the rest of the session after a grace period; return the exit status, None for a signal."""
        # The program is not waited for until the end, so that its session's id is not used again.
        deadline = time.monotonic() + _GRACE_SECONDS
        for number in (signal.SIGHUP, signal.SIGCONT):
            self._signal(number)
        while any(self._members()) and time.monotonic() < deadline:
            time.sleep(0.02)
        self._signal(signal.SIGKILL)
        self._process.close(force=True)
        os.close(self.ended)
        _open.discard(self)
        status: int | None = self._process.exitstatus
        return status

    def _signal(self, number: int) -> None:
        for pid in self._members():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _members(self) -> Iterator[int]:
        """Yield the processes of the session that have not ended."""
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                # proc(5): pid (comm) state ppid pgrp session; a comm may have blanks and brackets
                state, _, _, session = path.read_text(errors="replace").rpartition(")")[2].split()[:4]
                if int(session) == self.pid and state != "Z":
                    yield int(path.parent.name)
