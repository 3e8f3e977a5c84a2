"""Print messages and results, with the control characters in them replaced."""

from __future__ import annotations

import sys

from lab.escape import for_terminal

DIAGNOSE = "to find the cause: sudo make diagnose"  # the same words as in scripts/lib/common.sh


def print_message(program: str, message: object) -> None:
    """Print a message or an error to standard error, after the program's name."""
    print(for_terminal(f"{program}: {message}"), file=sys.stderr)


def print_line(text: str) -> None:
    """Print a line to standard output."""
    print(for_terminal(text), flush=True)
