"""Print log lines as text: time, level, node, message; only the last line of an exception.

tail -v FILE... | python3 -m lab.log_lines             all lines
tail -v FILE... | python3 -m lab.log_lines problems    the last problems, or the last lines if there are none
tail FILE | python3 -m lab.log_lines repeated          the error that was logged three times; exit 1 if none
tail FILE | python3 -m lab.log_lines last-error        the last error that may be a cause, if any

Reads the JSON of the services and of nginx, and the texts of nginx, PostgreSQL, Redis and the supervisor. A line in
another form is printed as it is.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

from lab.escape import on_one_line

FEW = 5
TIMES = 3  # stop waiting after this many equal errors
HEADING = re.compile(r"==> (.*) <==")
TEXT = re.compile(
    r"""^(?:\d+:[A-Z]\ )?                                      # Redis: process and role
        (?:\d{4}[-/]\d\d[-/]\d\d|\d\d\ \w{3}\ \d{4})[ ]
        (?P<time>\d\d:\d\d:\d\d(?:[.,]\d+)?)(?:\ [A-Z]{3})?\ +
        (?:\[\d+\]\ )?                                         # PostgreSQL: process
        \[?(?P<level>[A-Za-z]+|[*\#.-])[\]:]?\ +
        (?P<message>.*)$""",
    re.VERBOSE,
)
LEVELS = {"*": "notice", "#": "warning", "-": "info", ".": "debug", "log": "info", "warn": "warning"}
PROBLEMS = {"warning", "error", "fatal", "panic", "crit", "critical", "alert", "emerg"}
ERROR_ANYWHERE = re.compile(r"FATAL|PANIC|ERROR|Error|[Nn]o space|start\.sh: ")  # for lines without a level
CONSEQUENCE = re.compile(
    r"a dependency does not answer: |.*\[ERROR\] (?:Worker|Shutting down|Reason)|.*HaltServer"
)
ERROR_LINE = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception)(?::|$)|Fatal|FATAL")


@dataclass(frozen=True)
class Line:
    """A line of a log; a missing field is empty."""

    node: str
    time: str
    level: str
    message: str

    @property
    def is_problem(self) -> bool:
        """Return whether the line is an error, by the level or by the form of an exception."""
        return self.level in PROBLEMS or ERROR_LINE.match(self.message) is not None

    def __str__(self) -> str:
        return f"{self.time or '-':12.12} {self.level or '-':8} {self.node:18} {on_one_line(self.message)}"


def read_lines(lines: Iterable[str]) -> Iterator[Line]:
    """Parse the output of `tail -v`; keep only the last line of a plain-text traceback."""
    node = ""
    for raw in lines:
        text = raw.rstrip("\n")
        if heading := HEADING.fullmatch(text):
            node = PurePath(heading[1]).stem
        elif text.strip() and not text.startswith(("Traceback (", "  ")):
            yield read_line(node, text)


def read_line(node: str, text: str) -> Line:
    """Read one line of any program."""
    fields: object = None
    with contextlib.suppress(ValueError):  # a truncated line, or another program's
        fields = json.loads(text) if text.startswith("{") else None
    if isinstance(fields, dict):
        time = re.split("[Z+]", str(fields.get("time", ""))[11:])[0]
        return Line(node, time, str(fields.get("level", "info")), message(fields))
    if found := TEXT.match(text):
        level = found["level"].lower()
        return Line(node, found["time"].replace(",", "."), LEVELS.get(level, level), found["message"])
    return Line(node, "", "", text)


def message(fields: dict[str, object]) -> str:
    """Return the fields of a JSON line as text."""
    parts = [str(fields["message"])] if fields.get("message") not in (None, "request") else []
    if "path" in fields:
        took = f"{fields['ms']} ms" if "ms" in fields else f"{fields.get('seconds', '?')} s"
        parts.append(f"{fields.get('method', '?')} {fields['path']} {fields.get('status', '?')} {took}")
    if exception := str(fields.get("exception", "")).strip():
        parts.append(exception.splitlines()[-1])
    return "; ".join(parts)


def problems(lines: Iterable[Line]) -> list[Line]:
    """Return the last few problems, each once; or the last few lines if there are none."""
    found: deque[Line] = deque(maxlen=FEW)
    last: deque[Line] = deque(maxlen=FEW)
    for line in lines:
        last.append(line)
        if line.is_problem:
            found = deque((one for one in found if one.message != line.message), maxlen=FEW)
            found.append(line)
    return list(found or last)


def repeated(lines: Iterable[Line]) -> str:
    """Return the error that was logged at least TIMES times, ignoring numbers; "" if there is none."""
    errors = Counter(re.sub(r"\d+", "0", line.message) for line in lines if line.is_problem)
    return next((error for error, count in errors.most_common(1) if count >= TIMES), "")


def last_error(lines: Iterable[Line]) -> str:
    """Return the last error that is not a mere consequence of another error; "" if there is none."""
    error = ""
    for line in lines:
        is_error = line.is_problem or (not line.level and ERROR_ANYWHERE.search(line.message) is not None)
        if is_error and not CONSEQUENCE.match(line.message):
            error = line.message
    return error


def main(command: str) -> int:
    """Run the command."""
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    lines = read_lines(sys.stdin)
    if command == "repeated":
        error = repeated(lines)
        print(error)
        return 0 if error else 1
    if command == "last-error":
        print(last_error(lines))
        return 0
    for line in problems(lines) if command == "problems" else lines:
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main((sys.argv[1:] or ["all"])[0]))
    except (KeyboardInterrupt, BrokenPipeError):
        sys.stderr.close()  # the reader has closed the pipe
        sys.exit(0)
