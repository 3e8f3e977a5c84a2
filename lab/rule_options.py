"""Groups the words of a rule of iptables or ebtables into its options. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """One option as written: `! --ctstate NEW`; ebtables writes `-s ! MAC`."""

    negated: bool
    flag: str
    values: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def verbatim(self) -> str:
        """Write it for people."""
        return shlex.join(self.words)


def options_of(words: Sequence[str]) -> list[Option]:
    """Group the words of a rule."""
    groups: list[list[str]] = []
    for at, word in enumerate(words):
        before_flag = word == "!" and words[at + 1 : at + 2] and words[at + 1].startswith("-")
        follows_mark = groups and groups[-1] == ["!"]
        if before_flag or (word.startswith("-") and not follows_mark) or not groups:
            groups.append([word])
        else:
            groups[-1].append(word)
    return [_option(group) for group in groups]


def _option(group: Sequence[str]) -> Option:
    flag, *values = (word for word in group if word != "!")
    return Option("!" in group, flag, tuple(values), tuple(group))
