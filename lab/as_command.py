"""Runs a module as a command of the shell: Ctrl+C, a reader that has gone and a full disk end it without a traceback.

python -m lab.as_command MODULE ARGUMENT...

Exit status as of a command that the signal ended: 130 for SIGINT, 141 for SIGPIPE; 1 for a full disk. SIGPIPE itself
stays ignored, for a program that speaks over sockets must not die of a peer that closed one.
"""

from __future__ import annotations

import errno
import os
import runpy
import sys

INTERRUPTED, PIPE_CLOSED = 130, 141


def main() -> int:
    """Run the module that the command line names; its exit status is this one's."""
    sys.argv = sys.argv[1:]
    try:
        try:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        forget_output()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        forget_output()
        print(
            f"{sys.argv[0].rpartition('.')[2]}: not all of it could be written: {error.strerror}",
            file=sys.stderr,
        )
        return 1
    return 0


def forget_output() -> None:
    """Drop what waits to be written: else it is flushed at the end, and fails once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
