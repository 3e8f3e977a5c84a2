"""Parse the output of `iptables-save -c` and `ebtables-save -c` into rules and unread lines. Pure.

[1:60] -A CNET-PUBLISH -p tcp -m comment --comment "cnet: why" -m tcp --dport 80 -j DNAT --to-destination ...
packets:bytes  chain   matches   comment, taken out         matches       target   target options
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

_TABLE = re.compile(r"\*(\w+)")
_CHAIN = re.compile(r":(\S+) (\S+)( \[\d+:\d+\])?")  # ebtables-save prints no counters of chains
_RULE = re.compile(r"\[(\d+):(\d+)\] (-A (\S+)(?: (.*))?)")
_INCOMPATIBLE = re.compile(r"# Table `(\w+)' (is incompatible|contains incompatible base-chains), .*")
_APPENDED = re.compile(r"\S* ?-A (\S+)")
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"(?=\s|$)|([^\s"]+)(?=\s|$)')


@dataclass(frozen=True)
class Rule:
    """One rule as iptables writes it; its position in the chain begins at 1."""

    table: str
    chain: str
    position: int
    matches: tuple[str, ...]
    target: str
    target_options: tuple[str, ...]
    comment: str
    packets: int
    bytes: int
    text: str
    goto: bool = False

    @property
    def jump(self) -> str:
        """Return the target as the rule writes it; a watcher (LOG, NFLOG) of ebtables has the target CONTINUE."""
        is_watcher = self.table.startswith("ebtables") and self.target in ("LOG", "NFLOG")
        return "CONTINUE" if is_watcher else self.target


@dataclass(frozen=True)
class Unread:
    """A line that could not be read, and why."""

    line: int
    reason: str
    text: str


@dataclass
class Saved:
    """The parsed output of iptables-save: rules and unread lines."""

    rules: list[Rule] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    policies: list[tuple[str, str, str]] = field(default_factory=list)  # table, chain, verdict
    incompatible: set[str] = field(default_factory=set)  # nft tables that iptables-save cannot print
    unread_rules: list[tuple[str, str, str]] = field(default_factory=list)  # table, chain, text


class _CannotReadError(Exception):
    """The reason why a line cannot be read."""


def parse(text: str) -> Saved:
    """Parse the output of `iptables-save -c`."""
    reader, lines = _Reader(), text.splitlines()
    for number, line in enumerate(lines, start=1):
        reader.read(number, line)
    if reader.table:
        reason = f"the text ends before the COMMIT of table {reader.table}"
        reader.saved.unread.append(Unread(len(lines), reason, ""))
    return reader.saved


def live_rules() -> tuple[Rule, ...]:
    """Return the live rules of iptables and ebtables in this network namespace; needs root."""
    return tuple(live_ruleset().rules)


def live_rules6() -> tuple[Rule, ...]:
    """Return the live rules of ip6tables in this network namespace; needs root."""
    return tuple(live_ruleset6().rules)


def live_ruleset(enter: Sequence[str] = ()) -> Saved:
    """Return the live rules and the unread lines; `enter` is a command that enters another namespace."""
    packets = parse(_run(*enter, "iptables-save", "-c"))
    frames = parse(_run(*enter, "ebtables-save", "-c") + "COMMIT\n")  # ebtables-save omits COMMIT
    packets.rules += map(_of_frames, frames.rules)
    packets.unread += frames.unread
    return packets


def live_ruleset6() -> Saved:
    """Return the live rules and the unread lines of ip6tables here; each table is named `ip6tables TABLE`."""
    saved = parse(_run("ip6tables-save", "-c"))
    saved.rules = [replace(rule, table=f"ip6tables {rule.table}") for rule in saved.rules]
    saved.unread = [replace(line, reason=f"ip6tables: {line.reason}") for line in saved.unread]
    return saved


def dropped_by_policy(table: str, chain: str, tool: str = "iptables") -> int:
    """Count the packets that the policy DROP of a chain of this host has dropped; 0 where the policy accepts."""
    of_table = _run(f"{tool}-save", "-c").partition(f"*{table}\n")[2].partition("COMMIT")[0]
    found = re.search(rf"^:{chain} DROP \[(\d+):", of_table, re.MULTILINE)
    return int(found[1]) if found else 0


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=True).stdout


def _of_frames(rule: Rule) -> Rule:
    """Convert a rule of ebtables to one of iptables, where watchers are targets."""
    words = rule.matches
    target = "LOG" if "--log-prefix" in words else "NFLOG" if "--nflog-group" in words else rule.target
    return replace(rule, table=f"ebtables {rule.table}", target=target)


class _Reader:
    def __init__(self) -> None:
        self.saved = Saved()
        self.table = ""
        self.lengths: Counter[tuple[str, str]] = Counter()  # number of rules per chain

    def read(self, number: int, line: str) -> None:
        try:
            self.read_line(line)
        except _CannotReadError as reason:
            self.saved.unread.append(Unread(number, str(reason), line))
            if appended := _APPENDED.match(line):
                self.saved.unread_rules.append((self.table, appended[1], line.partition(" ")[2]))

    def read_line(self, line: str) -> None:
        if found := _INCOMPATIBLE.fullmatch(line):
            self.saved.incompatible.add(found[1])
        if not line or line.startswith("#"):
            return
        if chain := _CHAIN.fullmatch(line):
            self.saved.policies.append((self.table, chain[1], chain[2]))
        elif found := _TABLE.fullmatch(line):
            self.table = found[1]
        elif line == "COMMIT":
            self.table = ""
        else:
            self.read_rule(line)

    def read_rule(self, line: str) -> None:
        if appended := _APPENDED.match(line):  # a rule that cannot be read takes a position in the chain too
            self.lengths[self.table, appended[1]] += 1
        found = _RULE.fullmatch(line)
        if not found:
            raise _CannotReadError("not [packets:bytes] -A CHAIN ...")
        if not self.table:
            raise _CannotReadError("a rule outside any table")
        packets, count, text, chain, rest = found.groups()
        place = (self.table, chain, self.lengths[self.table, chain])
        self.saved.rules.append(_rule(place, words_of(rest or ""), int(packets), int(count), text))


def _rule(place: tuple[str, str, int], words: list[str], packets: int, count: int, text: str) -> Rule:
    rest, comment = _without_comment(words)
    jump = next((at for at, word in enumerate(rest) if word in ("-j", "-g")), len(rest))
    target, *options = rest[jump + 1 :] or [""]
    if jump < len(rest) and not target:
        raise _CannotReadError(f"{rest[jump]} without a target")
    goto = rest[jump : jump + 1] == ["-g"]
    return Rule(*place, tuple(rest[:jump]), target, tuple(options), comment, packets, count, text, goto)


def words_of(text: str) -> list[str]:
    """Split into words as iptables-save quotes them: double quotes, and a backslash before a literal character."""
    words, at = [], 0
    while at < len(text):
        found = _WORD.match(text, at)
        if not found:
            raise _CannotReadError(f"cannot be split into words at {text[at : at + 20]!r}")
        words.append(found[2] if found[1] is None else re.sub(r"\\(.)", r"\1", found[1]))
        at = found.end() + 1
    return words


def _without_comment(words: list[str]) -> tuple[list[str], str]:
    rest: list[str] = []
    comments: list[str] = []
    left = iter(words)
    for word in left:
        if word != "--comment" or (rest and rest[-1].startswith("--")):  # then --string searches for it
            rest.append(word)
        elif rest[-2:] != ["-m", "comment"] or (text := next(left, None)) is None:
            raise _CannotReadError("--comment without its match or its text")
        else:
            del rest[-2:]
            comments.append(text)
    return rest, " ".join(comments)


@dataclass(frozen=True)
class Option:
    """One option as written: `! --ctstate NEW`; ebtables writes `-s ! MAC`."""

    negated: bool
    flag: str
    values: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def verbatim(self) -> str:
        """Return the option as a shell would take it."""
        return shlex.join(self.words)


def options_of(words: Sequence[str]) -> list[Option]:
    """Group the words of a rule into its options."""
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
