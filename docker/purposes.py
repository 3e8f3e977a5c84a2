"""The purpose of each line of a container network (purposes.toml), and both sides' lines by purpose."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

RELATIONS = ("the same", "equivalent", "different", "only in Docker", "only in the lab", "not explained")
UNEXPLAINED = RELATIONS[-1]


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

    def relation(self, lab: Collection[str], docker: Collection[str]) -> str:
        """Return one of RELATIONS; `the same` means equal lines."""
        if self is _OTHER:
            return UNEXPLAINED
        if set(lab) == set(docker):
            return "the same"
        if lab and docker:
            return "different" if self.at_odds else "equivalent"
        return "only in the lab" if lab else "only in Docker"


_OTHER = Purpose(
    "Not explained",
    "Made by another program",
    (".*",),
    "Or by a version of Docker that this page does not know; iptables-save shows it whole.",
)


def purposes() -> list[Purpose]:
    """Return the purposes, in the order of the file."""
    read = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["purpose"]
    return [Purpose(**one | {"why": " ".join(one["why"].split())}) for one in read]


@dataclass(frozen=True)
class Row:
    """A purpose with the lines on either side, and the number of times each occurs."""

    topic: str
    purpose: str
    relation: str
    lab: Mapping[str, int]
    docker: Mapping[str, int]
    why: str


def compare(lab: Mapping[str, int], docker: Mapping[str, int]) -> list[Row]:
    """Return the lines of both sides by purpose: a line has the first one with a pattern that matches it."""
    rows, rest = [], (dict(lab), dict(docker))
    for one in [*purposes(), _OTHER]:
        pattern = re.compile("|".join(f"(?:{line})" for line in one.lines))
        ours, dockers = (
            {line: side.pop(line) for line in list(side) if pattern.fullmatch(line)} for side in rest
        )
        if ours or dockers:
            rows.append(Row(one.topic, one.title, one.relation(ours, dockers), ours, dockers, one.why))
    return rows
