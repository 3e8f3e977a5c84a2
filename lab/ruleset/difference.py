"""Compare the lab's wanted rules with the live ones, and write the restore input that makes them equal.

A chain of the lab is CNET-*. A rule in a chain of the host is the lab's if it jumps to such a chain: a hook. Nothing
else is ever changed. A hook is the first rule of its chain, so foreign rules before it are a difference.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lab.ruleset import OWN_PREFIX

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_TARGET = re.compile(r" -[jg] (\S+)")
_DOCKER_USER = "DOCKER-USER"
_TO_DOCKER_USER = "-A FORWARD -j DOCKER-USER"
_DECLARED = (OWN_PREFIX, "DOCKER-")
_NEW_CHAIN = {"iptables": "- [0:0]", "ebtables": "RETURN"}  # chains of ebtables have a policy


class CannotLoadError(Exception):
    """Rules that the kernel refuses; the text is the tool's own message."""


@dataclass(frozen=True, kw_only=True)
class Hook:
    """A jump from a chain of the host to one of the lab; `text` is "-A CHAIN ..."."""

    table: str
    text: str

    @property
    def chain(self) -> str:
        """Return the chain that holds the jump."""
        return self.text.split(" ", 2)[1]


@dataclass(frozen=True, kw_only=True)
class Behind:
    """Foreign rules that come before a hook of the lab."""

    table: str
    chain: str
    rules: tuple[str, ...]
    follows_docker: bool = False  # they come after Docker's jump to DOCKER-USER


@dataclass(kw_only=True)
class OwnRules:
    """The lab's part of a rule set: its chains with their rules, its hooks, and what comes before them."""

    chains: dict[tuple[str, str], list[str]] = field(default_factory=dict)  # by table and chain
    hooks: list[Hook] = field(default_factory=list)
    behind: list[Behind] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return a line for each chain, rule and hook, as "TABLE -A CHAIN ..."."""
        found = [f"{hook.table} {hook.text}" for hook in self.hooks]
        for (table, chain), rules in self.chains.items():
            found += (f"{table} -N {chain}", *(f"{table} {rule}" for rule in rules))
        return found

    def count(self) -> int:
        """Count the rules."""
        return len(self.hooks) + sum(map(len, self.chains.values()))

    def tables(self) -> list[str]:
        """Return the tables that hold something of the lab."""
        return list(
            dict.fromkeys((*(table for table, _ in self.chains), *(hook.table for hook in self.hooks)))
        )


def target_of(rule: str) -> str:
    """Return the target of a rule, or the chain that it calls; empty if it has none."""
    found = _TARGET.search(_QUOTED.sub('""', rule))
    return found[1] if found else ""


def own_rules(saved: str, chains: str) -> OwnRules:
    """Read what iptables-save or ebtables-save printed; `chains` is a pattern of names without CNET-."""
    reader = _Reader(re.compile(rf"{OWN_PREFIX}({chains})"))
    for line in saved.splitlines():
        reader.read(line)
    return reader.finish()


class _Reader:
    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self._found = OwnRules()
        self._table = ""
        self._others: dict[
            tuple[str, bool], list[str]
        ] = {}  # by chain and follows_docker, since the last hook
        self._follows_docker = False

    def read(self, line: str) -> None:
        if line.startswith("*"):
            self._table, self._others, self._follows_docker = line[1:], {}, False
        elif line.startswith(":"):
            name = line[1:].partition(" ")[0]
            if self._pattern.fullmatch(name):
                self._found.chains[self._table, name] = []
        elif line.startswith("-A "):
            self._read_rule(line)

    def _read_rule(self, line: str) -> None:
        chain, target = line.split(" ", 2)[1], target_of(line)
        follows_docker = self._follows_docker and chain == "FORWARD"
        if self._pattern.fullmatch(chain):
            self._found.chains.setdefault((self._table, chain), []).append(line)
        elif line == _TO_DOCKER_USER:
            self._follows_docker = True
        elif chain.startswith(OWN_PREFIX):
            return
        elif self._pattern.fullmatch(target):
            self._found.hooks.append(Hook(table=self._table, text=line))
            for key in ((chain, False), (chain, True)):
                if rules := self._others.pop(key, ()):
                    self._found.behind.append(
                        Behind(table=self._table, chain=chain, rules=tuple(rules), follows_docker=key[1])
                    )
        elif not target.startswith(OWN_PREFIX):
            self._others.setdefault((chain, follows_docker), []).append(line)

    def finish(self) -> OwnRules:
        """Ignore rules after Docker's jump to DOCKER-USER in tables where that chain has a hook too."""
        hooked = {hook.table for hook in self._found.hooks if hook.chain == _DOCKER_USER}
        self._found.behind = [
            behind for behind in self._found.behind if not (behind.follows_docker and behind.table in hooked)
        ]
        return self._found


# --- wanted rules ---------------------------------------------------------------------------------


def canonical_rules(wanted: Iterable[str], tool: str, chains: str) -> OwnRules:
    """Return wanted rules ("TABLE -A CHAIN ...") as the tool's save command writes them.

    Load them into a temporary network namespace first, so that a rule that the kernel rejects fails there and not on
    the host. Raises CannotLoadError.
    """
    tables: dict[str, list[str]] = {}
    for line in wanted:
        table, _, rule = line.partition(" ")
        tables.setdefault(table, []).append(rule)
    if not tables:
        return OwnRules()
    text = "".join(_restore_table(table, rules, tool) for table, rules in tables.items())
    done = subprocess.run(
        ["unshare", "--net", "--", "bash", "-c", f"set -e; {tool}-restore; {tool}-save"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotLoadError(done.stderr.strip())
    return own_rules(done.stdout, chains)


def _restore_table(table: str, rules: list[str], tool: str) -> str:
    names = dict.fromkeys(name for rule in rules for name in (rule.split(" ", 2)[1], target_of(rule)))
    declared = [f":{name} {_NEW_CHAIN[tool]}" for name in names if name.startswith(_DECLARED)]
    return "\n".join((f"*{table}", *declared, *rules, "COMMIT\n"))


# --- difference -----------------------------------------------------------------------------------


def change(wanted: OwnRules, live: OwnRules, tool: str) -> str:
    """Return the input of one `TOOL-restore --noflush`; nothing if there is no difference.

    A chain that is as wanted does not change, so it keeps its counters. A missing hook becomes the first rule of its
    chain; a hook behind foreign rules is deleted and inserted again. The order of hooks in a chain is no difference.
    """
    tables = dict.fromkeys((*wanted.tables(), *live.tables()))
    found = {
        table: "".join(f"{line}\n" for line in _change_table(wanted, live, table, tool)) for table in tables
    }
    return "".join(f"*{table}\n{lines}COMMIT\n" for table, lines in found.items() if lines)


def _change_table(wanted: OwnRules, live: OwnRules, table: str, tool: str) -> Iterator[str]:
    behind = {(rules.table, rules.chain) for rules in live.behind}
    staying = {hook for hook in wanted.hooks if (hook.table, hook.chain) not in behind}
    counts = Counter(hook for hook in live.hooks if hook.table == table)
    for hook, count in counts.items():
        yield from [f"-D{hook.text[2:]}"] * (count - (hook in staying))
    changed = {
        chain: rules
        for (of, chain), rules in wanted.chains.items()
        if of == table and live.chains.get((table, chain)) != rules
    }
    yield from (f":{chain} {_NEW_CHAIN[tool]}" for chain in changed)  # before the rules that jump to them
    yield from (rule for rules in changed.values() for rule in rules)
    for hook in dict.fromkeys(hook for hook in wanted.hooks if hook.table == table):
        if hook not in counts or hook not in staying:
            yield f"-I {hook.chain} 1{hook.text.removeprefix(f'-A {hook.chain}')}"
    surplus = [key[1] for key in live.chains if key[0] == table and key not in wanted.chains]
    for command in ("-F", "-X"):
        yield from (f"{command} {chain}" for chain in surplus)


def differences(wanted: OwnRules, live: OwnRules) -> Iterator[str]:
    """Yield a line for people for each difference: missing, behind or surplus."""
    wanted_lines, live_lines = dict.fromkeys(wanted.lines()), dict.fromkeys(live.lines())
    for line in wanted_lines:
        if line not in live_lines:
            yield f"missing  rule {line}"
    for behind in live.behind:
        more = f" (and {len(behind.rules) - 1} more)" if len(behind.rules) > 1 else ""
        place = f"{behind.table} {behind.chain}"
        yield f"behind   the lab's hook in {place} comes after a rule that is not the lab's: {behind.rules[0]}{more}"
    for line in live_lines:
        if line not in wanted_lines:
            yield f"surplus  rule {line}"
