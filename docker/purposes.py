"""The purpose of each line of a container network (purposes.toml), and both sides' lines by purpose."""

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
    """One function of a network: patterns of the lines that implement it on either side, and the reason.

    Two sides with other lines are equivalent, unless the purpose is `at_odds`.
    """

    topic: str
    title: str
    lines: tuple[str, ...]
    why: str
    at_odds: bool = False

    def serves(self, line: str) -> bool:
        """Return whether a normalised line has this purpose."""
        return any(re.fullmatch(pattern, line) for pattern in self.lines)


UNEXPLAINED = Purpose(
    "Not explained",
    "Made by another program",
    (".*",),
    "Or by a version of Docker that this page does not know; iptables-save shows it whole.",
)


def purposes() -> list[Purpose]:
    """Return the purposes, in the order of the file."""
    read = tomllib.loads(_FILE.read_text(encoding="utf-8"))["purpose"]
    return [
        Purpose(**one | {"lines": tuple(one["lines"]), "why": " ".join(one["why"].split())}) for one in read
    ]


@dataclass(frozen=True)
class Row:
    """A purpose with the lines on either side, and the number of times each occurs."""

    purpose: Purpose
    lab: Mapping[str, int]
    docker: Mapping[str, int]

    @property
    def relation(self) -> str:
        """Return one of RELATIONS; `the same` is word for word."""
        if self.purpose is UNEXPLAINED:
            return "not explained"
        if set(self.lab) == set(self.docker):
            return "the same"
        if self.lab and self.docker:
            return "different" if self.purpose.at_odds else "equivalent"
        return "only in the lab" if self.lab else "only in Docker"


def compare(lab: Mapping[str, int], docker: Mapping[str, int]) -> list[Row]:
    """Return the lines of both sides by purpose."""
    known = [*purposes(), UNEXPLAINED]
    found: dict[Purpose, tuple[dict[str, int], dict[str, int]]] = {one: ({}, {}) for one in known}
    for side, lines in enumerate((lab, docker)):
        for line, count in lines.items():
            found[next(one for one in known if one.serves(line))][side][line] = count
    return [Row(purpose, *sides) for purpose, sides in found.items() if any(sides)]


def by_topic(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Yield the rows of each topic."""
    for topic, of_topic in groupby(rows, key=lambda row: row.purpose.topic):
        yield topic, list(of_topic)
