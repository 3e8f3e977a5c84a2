"""What each line of a container network is for (purposes.toml), and the two sides' lines put side by side."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

_FILE = Path(__file__).with_suffix(".toml")
RELATIONS = ("the same", "equivalent", "different", "only in Docker", "only in the lab", "not explained")


@dataclass(frozen=True)
class Purpose:
    """One thing a network does: patterns of the lines that do it, on whichever side, and the reason.

    Lines that are not the same do it in another way; where that is not so, the purpose is `at_odds`.
    """

    topic: str
    title: str
    lines: tuple[str, ...]
    why: str
    at_odds: bool = False

    def serves(self, line: str) -> bool:
        """Tell whether a normalised line is one of its own."""
        return any(re.fullmatch(pattern, line) for pattern in self.lines)


UNEXPLAINED = Purpose(
    "Not explained",
    "Made by somebody else",
    (".*",),
    "Or by a version of Docker that this page does not know; iptables-save shows it whole.",
)


def purposes() -> list[Purpose]:
    """Read them, in the order of the file."""
    read = tomllib.loads(_FILE.read_text(encoding="utf-8"))["purpose"]
    return [
        Purpose(**one | {"lines": tuple(one["lines"]), "why": " ".join(one["why"].split())}) for one in read
    ]


@dataclass(frozen=True)
class Row:
    """A purpose with the lines on either side: each with how often it is there."""

    purpose: Purpose
    lab: Mapping[str, int]
    docker: Mapping[str, int]

    @property
    def relation(self) -> str:
        """Say how the two sides stand: `the same` is word for word."""
        if self.purpose is UNEXPLAINED:
            return "not explained"
        if set(self.lab) == set(self.docker):
            return "the same"
        if self.lab and self.docker:
            return "different" if self.purpose.at_odds else "equivalent"
        return "only in the lab" if self.lab else "only in Docker"


def compare(lab: Mapping[str, int], docker: Mapping[str, int]) -> list[Row]:
    """Put the lines of both sides side by side, by what they are for."""
    known = [*purposes(), UNEXPLAINED]
    found: dict[Purpose, tuple[dict[str, int], dict[str, int]]] = {one: ({}, {}) for one in known}
    for side, lines in enumerate((lab, docker)):
        for line, count in lines.items():
            found[next(one for one in known if one.serves(line))][side][line] = count
    return [Row(purpose, *sides) for purpose, sides in found.items() if any(sides)]


def by_topic(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Give the rows of each topic."""
    for topic, of_topic in groupby(rows, key=lambda row: row.purpose.topic):
        yield topic, list(of_topic)
