"""Type into a program on a pseudo terminal, and wait for what it prints, as a learner does in an exercise.

python3 tests/lab/type_exercise.py COMMAND... <STEPS

A step is a line: "> text" waits for a prompt, "# ", and types the text; "< pattern" waits until the pattern (re) is
printed since the last line typed, and fails after a minute and a half; "! command" runs a command of bash beside, with
the program's process id as $PROGRAM and that of the sandbox, if it was printed, as $SANDBOX. At the end it waits for
the program and prints its exit status. All that the program prints goes to standard output; a pattern sees it without
carriage returns and colours.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

SECONDS = 90.0


def read_some(terminal: int, seconds: float) -> bytes | None:
    """Return what is printed within the time, nothing if that is nothing, and None at the end."""
    if not select.select([terminal], [], [], seconds)[0]:
        return b""
    try:
        return os.read(terminal, 65536) or None
    except OSError:
        return None


def wait_for(terminal: int, pattern: str, printed: str) -> tuple[str, bool]:
    deadline = time.monotonic() + SECONDS
    while not re.search(pattern, printed):
        data = read_some(terminal, 0.2)
        if data is None or time.monotonic() > deadline:
            return printed, False
        text = data.decode(errors="replace").replace("\r\n", "\n")
        sys.stdout.write(text)
        printed = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", printed + text)
    return printed, True


def main() -> int:
    program, terminal = pty.fork()
    if program == 0:
        os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - the program that is typed into
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    printed = sandbox = ""
    for step in sys.stdin.read().splitlines():
        kind, _, text = step.strip().partition(" ")
        if kind == ">":
            wait_for(terminal, r"# $", printed)
            os.write(terminal, text.encode() + b"\n")
            printed, _ = wait_for(terminal, "\n", "")
            printed = printed.partition("\n")[2]  # without the echo, which a pattern must not match
        elif kind == "<":
            printed, found = wait_for(terminal, text, printed)
            if not found:
                print(f"\nnever printed: {text}")
                return 1
            if entered := re.search(r"sandbox\.sh enter (\d+)", printed):
                sandbox = entered[1]
        elif kind == "!":
            environment = os.environ | {"PROGRAM": str(program), "SANDBOX": sandbox}
            subprocess.run(["bash", "-c", text], env=environment, check=False)
    wait_for(terminal, "(?!)", "")  # to its end
    print("status", os.waitstatus_to_exitcode(os.waitpid(program, 0)[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
