"""Run the commands of the lessons as they are written, and compare what they print with what the lessons show.

    tests/python/lessons.py 'sudo make up'      # all lessons that start with this command

Run it in a sandbox. CONTRIBUTING.md ("Lessons") has the rules for what a lesson may show.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("lessons", "measurements")
SECONDS = 90
MARK = "lesson-command-ended"


class LessonError(Exception):
    """A lesson does not work as written; the message names file, line and command."""


@dataclass(frozen=True)
class Command:
    """A command of a lesson, and the lines that the lesson shows after it."""

    page: str
    line: int
    text: str
    shown: tuple[str, ...]

    @property
    def comment(self) -> str:
        """What the lesson says beside the command."""
        return self.text.partition("  #")[2]

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}: $ {self.text}"


@dataclass(frozen=True)
class Lesson:
    """A page of docs/: the state that it starts from, and its commands."""

    page: str
    start: str
    not_run: str
    commands: tuple[Command, ...]


# --- reading a page ----------------------------------------------------------------------------------------------


def read_lesson(path: Path) -> Lesson:
    text = path.read_text()
    start = re.search(r"^Start: `([^`]+)`(?:.*\n)*?\n", text, re.MULTILINE)
    not_run = re.search(r"Tests do not run these commands: ([^.]+)\.", re.sub(r"\s+", " ", text))
    page = f"{path.parent.name}/{path.name}"
    return Lesson(
        page,
        start[1] if start else "",
        not_run[1] if not_run else "",
        tuple(read_commands(page, text)),
    )


def read_commands(page: str, text: str) -> Iterator[Command]:
    """Yield the commands of the console blocks; a line that ends in a backslash goes on in the next one."""
    number, lines = 0, text.splitlines()
    inside = False
    while number < len(lines):
        line = lines[number]
        number += 1
        if line.startswith("```"):
            inside = line == "```console"
        if not inside or not line.startswith("$ "):
            continue
        first, command = number, line[2:]
        while command.endswith("\\"):
            command += "\n" + lines[number]
            number += 1
        shown = []
        while not lines[number].startswith(("$ ", "```")):
            shown.append(lines[number])
            number += 1
        yield Command(page, first, command, tuple(shown))


def lessons() -> list[Lesson]:
    return [read_lesson(path) for folder in FOLDERS for path in sorted((ROOT / "docs" / folder).glob("*.md"))]


# --- comparing ---------------------------------------------------------------------------------------------------

UNSTABLE = re.compile(
    r"""(?P<time>\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d))
      | (?P<id>\b[0-9a-f]{32}\b)
      | (?P<same>\d+\.\d+\.\d+\.\d+(?:/\d+)?(?::\d+)? | (?:[0-9a-f]{2}:){5}[0-9a-f]{2}
        | [0-9a-f:]*::[0-9a-f:]*(?:/\d+)?)
      | (?P<number>\d+(?:[.,]\d+)*)
      | (?P<any>\s*\.\.\.\s*)
      | (?P<space>\s+)""",
    re.VERBOSE,
)
PATTERNS = {
    "time": r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)",
    "id": "[0-9a-f]{32}",
    "number": r"\d+(?:[.,]\d+)*",
    "any": ".*",
    "space": r"\s+",
}


JOB_ENDED = re.compile(r"bash: line \d+: +\d+ (\w+) +.*")  # in a terminal bash prints the word alone


def pattern_of(shown: str) -> str:
    """Return the regular expression of a shown line: numbers, times and ids of that kind, `...` anything."""
    shown = re.sub(r"\s{2,}#.*", "", shown).strip()
    pattern, end = "", 0
    for found in UNSTABLE.finditer(shown):
        kind = found.lastgroup or ""
        pattern += re.escape(shown[end : found.start()]) + PATTERNS.get(kind, re.escape(found[0]))
        end = found.end()
    return pattern + re.escape(shown[end:])


def difference(shown: Sequence[str], printed: Sequence[str]) -> str:
    """Return the first shown line that was not printed, or the first printed line that is not shown; "" if equal.

    A line `...` stands for any lines.
    """
    wanted = [line.strip() for line in shown]
    got = [JOB_ENDED.sub(r"\1", line.strip()) for line in printed if not line.startswith("make: ***")]
    reached = {0}  # how many printed lines the shown ones so far may stand for
    for line in wanted:
        if line == "...":
            reached = set(range(min(reached), len(got) + 1))
        else:
            pattern = re.compile(pattern_of(line))
            reached = {index + 1 for index in reached if index < len(got) and pattern.fullmatch(got[index])}
        if not reached:
            return f"not printed: {line}"
    return "" if len(got) in reached else f"not shown: {got[max(reached)]}"


# --- running -----------------------------------------------------------------------------------------------------


@dataclass
class Terminal:
    """A shell, as a reader has it open; `until` ends when the predicate of its output is true."""

    process: subprocess.Popen[bytes]
    output: str = field(default="")

    def read_until(self, is_enough: Callable[[str], bool], seconds: float = SECONDS) -> bool:
        """Read the output until it is enough; False if it ends or the time is over before."""
        assert self.process.stdout
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not is_enough(self.output):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return False
                piece = os.read(self.process.stdout.fileno(), 65536)
                if not piece:
                    return False
                self.output += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", piece.decode(errors="replace"))
        return True

    def interrupt(self) -> None:
        """Do what Ctrl+C does."""
        os.killpg(self.process.pid, signal.SIGINT)


def open_terminal(*command: str) -> Terminal:
    return Terminal(
        subprocess.Popen(
            # A shell that runs tests in the background ignores SIGINT, and its children inherit that.
            ["env", "--default-signal=INT", "bash", "--norc", *command],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    )


def run_in(terminal: Terminal, command: Command) -> None:
    assert terminal.process.stdin
    terminal.output = ""
    script = f"{{ {command.text}\n}} </dev/null 2>&1\nprintf '\\n%s %s\\n' {MARK} $?\n"
    terminal.process.stdin.write(script.encode())
    terminal.process.stdin.flush()
    ended = re.compile(rf"\n?\n{MARK} (\d+)\n")
    if not terminal.read_until(lambda output: ended.search(output) is not None):
        raise LessonError(f"{command.place}\n  does not end; it printed:\n{terminal.output}")
    found = ended.search(terminal.output)
    assert found
    judge(command, terminal.output[: found.start()], int(found[1]))


def judge(command: Command, output: str, status: int) -> None:
    if command.shown:
        problem = difference(command.shown, output.replace(f"{ROOT}/", "").splitlines())
    else:
        problem = f"exit status {status}" if status else ""
    if problem:
        raise LessonError(f"{command.place}\n  {problem}\n  it printed:\n{output}")


def run_until_interrupted(command: Command) -> None:
    """Run a command that goes on until Ctrl+C: press it when the shown lines, or any, have been printed."""
    terminal = open_terminal("-c", command.text)

    def is_enough(output: str) -> bool:
        lines = output.splitlines()
        return bool(lines) and not (command.shown and difference((*command.shown, "..."), lines))

    enough = terminal.read_until(is_enough)
    if terminal.process.poll() is None:
        terminal.interrupt()
    terminal.read_until(lambda _: False, 30)
    try:
        terminal.process.wait(10)
    except subprocess.TimeoutExpired as error:
        raise LessonError(
            f"{command.place}\n  Ctrl+C does not end it; it printed:\n{terminal.output}"
        ) from error
    if not enough or "Traceback" in terminal.output:
        raise LessonError(f"{command.place}\n  it printed:\n{terminal.output}")


def run_lesson(lesson: Lesson) -> int:
    """Return the number of commands that do not work as written."""
    terminal, others, failed = open_terminal(), [], 0
    try:
        for command in lesson.commands:
            began = time.monotonic()
            try:
                if "second terminal" in command.comment:
                    others.append(open_terminal("-c", command.text))
                elif "Ctrl+C" in command.comment:
                    run_until_interrupted(command)
                else:
                    run_in(terminal, command)
                print(f"ok {time.monotonic() - began:5.1f} s  {command.place}", flush=True)
            except LessonError as error:
                failed += 1
                print(f"not ok  docs/{error}", flush=True)
    finally:
        for other in (terminal, *others):
            os.killpg(other.process.pid, signal.SIGKILL)
    return failed


def run_lessons(start: str) -> int:
    """Run all lessons with this start. Each must leave the lab as it found it."""
    chosen = [lesson for lesson in lessons() if lesson.start == start and not lesson.not_run]
    if not chosen:
        raise LessonError(f"no lesson starts with: {start}")
    subprocess.run(["bash", "-ec", start], cwd=ROOT, check=True)
    failed = 0
    for lesson in chosen:
        failed += run_lesson(lesson)
        status = subprocess.run(
            ["scripts/lab.sh", "status"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if status.returncode:
            failed += 1
            print(f"not ok  docs/{lesson.page} leaves the lab changed:\n{status.stdout[-2000:]}", flush=True)
            subprocess.run(["bash", "-ec", start], cwd=ROOT, check=False)
    return failed


if __name__ == "__main__":
    sys.exit(min(run_lessons(sys.argv[1]), 1))
