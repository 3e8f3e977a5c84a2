"""What an exercise prints: its symptom, its commands, its explanation, its repairs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from string import Template
from textwrap import dedent

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from faults.exercises.catalogue import Fault, fill_in, function_in_words
from faults.exercises.place import Place
from faults.exercises.progress import hint_cost, points_of

_TEXT_WIDTH = 100


def filled(text: str, variables: Mapping[str, str]) -> str:
    """Return a text with the variables of the fault."""
    return fill_in(text, variables)


def duration(seconds: int) -> str:
    """Return seconds as people say them: 50 s, 4 min 10 s, 1 h 5 min."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def symptom(place: Place) -> RenderableType:
    """Return the title and the symptom."""
    fault = place.fault
    words = Text(filled(fault.symptom, place.variables))
    return Group(
        Rule(f"{fault.title}: level {fault.level}, {points_of(fault)} points", align="left", style="none"),
        Padding(words, (1, 2), expand=False),
    )


def commands(fault: Fault) -> Iterator[tuple[str, str]]:
    """Yield the commands of the shell with their meaning."""
    yield (
        "check",
        "what works again, what is still broken, and what you broke (about 3 s; 5 s if all works)",
    )
    yield "hint", f"the next of {len(fault.hints)} hints; each costs {hint_cost(fault)} points"
    yield "reset", "repair the lab, and break it again (about 3 s)"
    yield "symptom", "the user's complaint, again"
    yield "give-up", "the cause, the repairs and the explanation; no points"
    yield "explain", "what happened; after you have solved it, or give-up"
    yield "help", "this list"


def command_table(fault: Fault) -> Table:
    """Return the commands of the shell as a table."""
    table = Table(box=None, show_header=False, padding=(0, 2))
    for name, meaning in commands(fault):
        table.add_row(Text(name, "bold"), meaning)
    table.add_row("exit", "leave; every command but this one takes --json")
    return table


def explanation(place: Place) -> str:
    """Return the explanation, as Markdown."""
    text = (place.fault.folder / "explanation.md").read_text(encoding="utf-8")
    filled_in = Template(text).safe_substitute(place.variables).strip()  # a $ may also be a shell's prompt
    return f"{filled_in}\n\nThe mechanism: {place.fault.mechanism}."


def cause(place: Place) -> dict[str, str]:
    """Return kind, object and place of the cause, as `make diagnose` names them."""
    return {key: filled(text, place.variables) for key, text in vars(place.fault.cause).items()}


def repairs(place: Place) -> Iterator[tuple[str, str]]:
    """Yield each right repair: its name as words, and its commands."""
    text = (place.fault.folder / "repairs.sh").read_text(encoding="utf-8")
    for function in place.fault.repairs:
        found = re.search(
            rf"^{function}\(\) \{{(?: ([^\n]*) \}}|\n(.*?)^\}})", text, re.MULTILINE | re.DOTALL
        )
        if found:
            body = dedent(found[1].rstrip("; ") if found[1] else found[2]).strip()
            yield function_in_words(function), Template(body).safe_substitute(place.variables)
