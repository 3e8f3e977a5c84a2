"""Compare the lab's wanted rules with the live ones, and write the restore input that makes them equal.

A chain of the lab is CNET-*. A rule in a chain of the host is the lab's if it jumps to such a chain: a hook. Nothing
else is ever changed. A hook is the first rule of its chain, so foreign rules before it are a difference.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lab.ruleset import OWN_PREFIX

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_TARGET = re.compile(r" -[jg] (\S+)")
_TO_DOCKER_USER = "-A FORWARD -j DOCKER-USER"
_DECLARED = (OWN_PREFIX, "DOCKER-")
_NEW_CHAIN = {"iptables": "- [0:0]", "ip6tables": "- [0:0]", "ebtables": "RETURN"}  # the last: a policy


class CannotLoadError(Exception):
    """Rules that the kernel refuses; the text is the tool's own message."""


class Hook(NamedTuple):
    """A jump from a chain of the host to one of the lab; `text` is "-A CHAIN ..."."""

    table: str
    chain: str
    text: str


class Behind(NamedTuple):
    """Foreign rules that come before a hook of the lab."""

    table: str
    chain: str
    rules: tuple[str, ...]


class OwnRules:
    """The lab's part of a rule set: chains with their rules, hooks, and foreign rules before the hooks."""

    def __init__(self) -> None:
        self.chains: dict[tuple[str, str], list[str]] = {}  # key: table, chain
        self.hooks: list[Hook] = []
        self.behind: list[Behind] = []

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
        """Return the tables with a chain or a hook of the lab."""
        return [*(table for table, _ in self.chains), *(hook.table for hook in self.hooks)]


def target_of(rule: str) -> str:
    """Return the target of a rule, or the chain that it calls; empty if it has none."""
    found = _TARGET.search(_QUOTED.sub('""', rule))
    return found[1] if found else ""


def own_rules(saved: str, chains: str) -> OwnRules:
    """Read the output of iptables-save or ebtables-save; `chains` is a pattern of names without CNET-."""
    found, pattern = OwnRules(), re.compile(rf"{OWN_PREFIX}({chains})")
    for text in f"\n{saved}".split("\n*")[1:]:
        table, *lines = text.splitlines()
        _read_table(found, table, lines, pattern)
    return found


def _read_table(found: OwnRules, table: str, lines: list[str], pattern: re.Pattern[str]) -> None:
    """Add the lab's part of a table.

    If the lab has a hook in DOCKER-USER too, rules after Docker's jump to that chain do not come before the hook.
    """
    others: dict[str, list[str]] = {}  # chain -> other rules since the chain's last hook
    has_docker_hook = any(
        line.startswith("-A DOCKER-USER ") and pattern.fullmatch(target_of(line)) for line in lines
    )
    is_hooked = False  # DOCKER-USER is reachable from FORWARD
    for line in lines:
        name = line[1:].partition(" ")[0]
        if line.startswith(":") and pattern.fullmatch(name):
            found.chains[table, name] = []
        if not line.startswith("-A "):
            continue
        chain, target = line.split(" ", 2)[1], target_of(line)
        if pattern.fullmatch(chain):
            found.chains.setdefault((table, chain), []).append(line)
        elif line == _TO_DOCKER_USER:
            is_hooked = has_docker_hook
        elif chain.startswith(OWN_PREFIX):
            continue
        elif pattern.fullmatch(target):
            found.hooks.append(Hook(table, chain, line))
            if rules := others.pop(chain, ()):
                found.behind.append(Behind(table, chain, tuple(rules)))
        elif not (target.startswith(OWN_PREFIX) or (is_hooked and chain == "FORWARD")):
            others.setdefault(chain, []).append(line)


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
    yield from (f":{chain} {_NEW_CHAIN[tool]}" for chain in changed)  # create chains before jumps to them
    yield from (rule for rules in changed.values() for rule in rules)
    for hook in dict.fromkeys(hook for hook in wanted.hooks if hook.table == table):
        if hook not in counts or hook not in staying:
            yield f"-I {hook.chain} 1{hook.text.removeprefix(f'-A {hook.chain}')}"
    surplus = [key[1] for key in live.chains if key[0] == table and key not in wanted.chains]
    for command in ("-F", "-X"):
        yield from (f"{command} {chain}" for chain in surplus)


def differences(wanted: OwnRules, live: OwnRules, tool: str) -> Iterator[str]:
    """Yield a readable line for each difference: missing, behind or surplus."""
    of = f"{tool} " if tool == "ip6tables" else ""
    wanted_lines, live_lines = dict.fromkeys(wanted.lines()), dict.fromkeys(live.lines())
    for line in wanted_lines:
        if line not in live_lines:
            yield f"missing  rule {of}{line}"
    for behind in live.behind:
        more = f" (and {len(behind.rules) - 1} more)" if len(behind.rules) > 1 else ""
        place = f"{of}{behind.table} {behind.chain}"
        yield f"behind   the lab's hook in {place} comes after a rule that is not the lab's: {behind.rules[0]}{more}"
    for line in live_lines:
        if line not in wanted_lines:
            yield f"surplus  rule {of}{line}"
