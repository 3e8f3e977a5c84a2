"""Runs a module as a command of the shell: Ctrl+C and a reader that has gone end it without a traceback.

python -m scripts.as_command MODULE ARGUMENT...

Exit status as of a command that the signal ended: 130 for SIGINT, 141 for SIGPIPE. SIGPIPE itself stays ignored, for a
program that speaks over sockets must not die of a peer that closed one.
"""

from __future__ import annotations

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
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # else it is flushed, and fails, once more
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
