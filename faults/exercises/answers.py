"""The answers to the commands of an exercise's shell, as text or JSON."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict

from rich.markdown import Markdown
from rich.text import Text

from faults.exercises import texts
from faults.exercises.behaviour import Behaviour
from faults.exercises.check import Grade, grades, show
from faults.exercises.exercise import Exercise
from faults.exercises.place import PlaceError
from faults.exercises.progress import Outcome, hint_cost
from faults.exercises.server import Client


class Answers:
    """The commands of one exercise."""

    def __init__(self, exercise: Exercise) -> None:
        self.exercise, self.place, self.fault = exercise, exercise.place, exercise.fault
        self._commands: dict[str, Callable[[Client], int]] = {
            "check": self._check,
            "hint": self._hint,
            "explain": self._explain,
            "give-up": self._give_up,
            "reset": self._reset,
            "symptom": self._symptom,
            "help": self._help,
        }

    def answer(self, command: str, client: Client) -> int:
        """Run one command of the shell; return its exit status."""
        if command not in self._commands:
            return self._print(client, f"{command}: no such command; `help` lists them", status=2)
        return self._commands[command](client)

    # --- the commands ---------------------------------------------------------------------------------------

    def _check(self, client: Client) -> int:
        self.exercise.checks += not self.exercise.result
        begin = time.monotonic()
        try:
            now = self._try_all(client)
        except PlaceError as error:
            return self._print(client, f"check: cannot test the lab: {error}", status=1)
        seconds = time.monotonic() - begin
        found = grades(now, self.exercise.after_break)
        is_green = all(behaviour.works for behaviour in now)
        if is_green and not self.exercise.result:
            self.exercise.end(Outcome.SOLVED)
            self.place.uncover()
        if client.json:
            behaviours = [{"grade": grade, **asdict(behaviour)} for grade, behaviour in found]
            return self._json(
                client,
                int(not is_green),
                repaired=is_green,
                check_seconds=round(seconds, 1),
                behaviours=behaviours,
            )
        console = client.console()
        show(found, console)
        console.print()
        console.print(_verdict(found) if not is_green else self._success())
        client.show(console)
        return int(not is_green)

    def _try_all(self, client: Client) -> list[Behaviour]:
        """Try all behaviours; if all work try again, because some faults show only now and then."""
        with client.progress("trying what must work, and what must stay closed:"):
            now = self.place.behaviours()
        if self.exercise.result or not all(one.works for one in now):
            return now
        with client.progress("all works; trying again:"):
            return self.place.behaviours()

    def _success(self) -> Text:
        result = self.exercise.end(Outcome.SOLVED)
        if result.outcome is not Outcome.SOLVED:
            return Text("Repaired, after you gave up: no points.", "bold")
        lines = [
            f"Repaired in {texts.duration(result.seconds)}: {result.score} of {result.points} points.",
            self.exercise.complaint or "`explain` shows what happened; `exit` leaves.",
        ]
        return Text("\n".join(lines), "bold green")

    def _hint(self, client: Client) -> int:
        hints = self.fault.hints
        if self.exercise.hints >= len(hints):
            return self._print(client, "There are no more hints. `give-up` shows the solution.", status=1)
        self.exercise.hints += not self.exercise.result
        number = self.exercise.hints if not self.exercise.result else len(hints)
        hint = texts.filled(hints[number - 1], self.place.variables)
        if client.json:
            return self._json(client, number=number, hint=hint, costs=hint_cost(self.fault))
        left = len(hints) - number
        console = client.console()
        console.print(Text(f"Hint {number} of {len(hints)}: ", "bold").append(hint, "not bold"))
        rest = f"the next hint costs {hint_cost(self.fault)}" if left else "there are no more hints"
        if not self.exercise.result:
            console.print(f"{self.exercise.score} of {self.exercise.points} points are left; {rest}.")
        client.show(console)
        return 0

    def _explain(self, client: Client) -> int:
        if not self.exercise.result:
            return self._print(client, "explain: not before you have solved it or typed give-up", status=1)
        if client.json:
            return self._json(client, explanation=texts.explanation(self.place), lesson=self.fault.lesson)
        console = client.console()
        console.print(Markdown(texts.explanation(self.place)))
        console.print()
        console.print(f"The lesson: docs/lessons/{self.fault.lesson}.md")
        client.show(console)
        return 0

    def _give_up(self, client: Client) -> int:
        self.exercise.end(Outcome.GAVE_UP)
        self.place.uncover()
        if client.json:
            return self._json(
                client,
                cause=texts.cause(self.place),
                repairs=dict(texts.repairs(self.place)),
                explanation=texts.explanation(self.place),
            )
        console = client.console()
        console.print(
            Text("The cause: ", "bold").append(" ".join(texts.cause(self.place).values()), "not bold")
        )
        for number, (words, commands) in enumerate(texts.repairs(self.place), start=1):
            console.print(Text(f"Repair {number}: {words}", "bold"))
            console.print(*(f"  {line}" for line in commands.splitlines()), sep="\n")
        if self.exercise.here:
            console.print("Repair 1 undoes exactly what was done; others may also remove rules of this host.")
        console.print()
        client.show(console)
        return self._explain(client)

    def _reset(self, client: Client) -> int:
        self.exercise.resets += not self.exercise.result
        begin = time.monotonic()
        try:
            with client.progress("repairing the lab, and breaking it again:"):
                self.place.reset()
        except PlaceError as error:
            return self._print(client, f"reset: {error}; leave this shell and start again", status=1)
        seconds = time.monotonic() - begin
        if client.json:
            return self._json(client, reset_seconds=round(seconds, 1))
        return self._print(client, f"After {seconds:.1f} s: {self.place.reset_words}.")

    def _symptom(self, client: Client) -> int:
        if client.json:
            given = self.fault.hints[: self.exercise.hints]
            return self._json(
                client,
                title=self.fault.title,
                level=self.fault.level,
                symptom=texts.filled(self.fault.symptom, self.place.variables),
                given_hints=[texts.filled(hint, self.place.variables) for hint in given],
                hints_left=len(self.fault.hints) - len(given),
                costs=hint_cost(self.fault),
            )
        console = client.console()
        console.print(texts.symptom(self.place))
        client.show(console)
        return 0

    def _help(self, client: Client) -> int:
        if client.json:
            return self._json(client, commands=dict(texts.commands(self.fault)))
        console = client.console()
        console.print(texts.command_table(self.fault))
        client.show(console)
        return 0

    # --- what they print --------------------------------------------------------------------------------------

    def _print(self, client: Client, line: str, status: int = 0) -> int:
        if client.json:
            return self._json(client, status, message=line)
        client.send(text=line + "\n")
        return status

    def _json(self, client: Client, status: int = 0, /, **content: object) -> int:
        document = {
            "exercise": self.fault.slug,
            "outcome": self.exercise.result.outcome if self.exercise.result else None,
            "score": self.exercise.score,
            "points": self.exercise.points,
            "hints": self.exercise.hints,
            **content,
        }
        client.send(text=json.dumps(document, indent=1) + "\n")
        return status


def _verdict(found: Sequence[tuple[Grade, Behaviour]]) -> Text:
    """Say what is wrong of a red check."""
    of_grade = Counter(grade for grade, _ in found)
    words = [f"{of_grade[Grade.BROKEN]} still broken"] * bool(of_grade[Grade.BROKEN])
    if since := of_grade[Grade.BROKEN_BY_YOU]:
        words.append(f"{since} broken since: they worked before you began, so check what you changed")
    return Text(f"Not repaired: {', '.join(words)}.", "bold red")
