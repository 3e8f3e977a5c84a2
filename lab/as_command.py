"""Run a module as a shell command: Ctrl+C, a closed pipe and a full disk end it without a traceback.

python -m lab.as_command MODULE ARGUMENT...

The exit status is that of a command ended by the signal: 130 for SIGINT, 141 for SIGPIPE; 1 for a full disk. SIGPIPE
itself stays ignored, because a program that uses sockets must not die when a peer closes one.
"""

from __future__ import annotations

import errno
import os
import runpy
import sys

INTERRUPTED, PIPE_CLOSED = 130, 141


def main() -> int:
    """Run the module that the command line names; pass its exit status on."""
    sys.argv = sys.argv[1:]
    try:
        try:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        discard_output()
        print(
            f"{sys.argv[0].rpartition('.')[2]}: could not write all output: {error.strerror}",
            file=sys.stderr,
        )
        return 1
    return 0


def discard_output() -> None:
    """Discard the buffered output, or flushing it at exit fails again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
