"""The page of the lab's rules before it is written: which rules are the lab's, and what each does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from lab.ruleset.iptables import Rule, Saved, Unread
from lab.topology import Topology
from security.policy.compiler import drop_chain
from security.policy.model import BUILT_IN
from security.rules.english import meaning

TITLE = "The live rules of the lab"
_DROP = drop_chain("")
OURS, MARK = "CNET-", "cnet: "
NOTE = (
    "A chain of table nat sees the first packet of a connection only; those after it, and the answers, are "
    "translated as that one was."
)
# Where the kernel looks at a packet, in its order (priorities of linux/netfilter_ipv4.h).
_IN = ("raw PREROUTING", "mangle PREROUTING", "nat PREROUTING", "routing decision")
_THROUGH = ("mangle FORWARD", "filter FORWARD", "security FORWARD", "mangle POSTROUTING", "nat POSTROUTING")
_TO_THE_HOST = ("mangle INPUT", "filter INPUT", "security INPUT")
_MADE_HERE = (
    "routing decision",
    "raw OUTPUT",
    "mangle OUTPUT",
    "nat OUTPUT",
    "routing decision",
    "filter OUTPUT",
    "security OUTPUT",
)
_NODE_OUT, _NODE_TO_NODE, _NODE_TO_HOST = "node -> outside", "node -> node", "node -> host"
JOURNEYS = {
    "outside -> published port": (*_IN, *_THROUGH),
    _NODE_OUT: (*_IN, *_THROUGH),
    _NODE_TO_NODE: ("ebtables nat PREROUTING", *_IN[:-1], *_THROUGH),
    _NODE_TO_HOST: ("ebtables nat PREROUTING", *_IN, *_TO_THE_HOST),
    "localhost -> published port": (*_MADE_HERE, *_THROUGH[3:]),
}


@dataclass(frozen=True)
class Row:
    """One rule on the page."""

    table: str
    chain: str
    position: int
    packets: int
    bytes: int
    meaning: str
    why: str
    rule: str

    @property
    def cells(self) -> tuple[str, ...]:
        """What is below the heading that names table and chain."""
        return (
            str(self.position),
            self.meaning,
            self.why,
            f"{self.packets:,}",
            f"{self.bytes:,}",
            self.rule,
        )


CELLS = ("#", "what it does", "why it is there", "packets", "bytes", "the rule")


@dataclass(frozen=True)
class Page:
    """All that is shown, whatever it is written as."""

    generated: str
    command: str
    journeys: dict[str, tuple[str, ...]]
    rows: tuple[Row, ...]
    unread: tuple[Unread, ...]

    @property
    def chains(self) -> Iterator[tuple[str, tuple[Row, ...]]]:
        """Rows of each chain, under the name of the table and the chain."""
        for name, rows in groupby(self.rows, key=lambda row: f"{row.table} {row.chain}"):
            yield name, tuple(rows)


def page_of(saved: Saved, topology: Topology | None, generated: str = "", command: str = "") -> Page:
    """Explain the rules that are the lab's."""
    rows = tuple(_row(rule, topology) for rule in saved.rules if is_ours(rule))
    return Page(generated, command, _journeys(saved.rules), rows, saved.unread)


def is_ours(rule: Rule) -> bool:
    """Tell whether a rule is in a chain of the lab or jumps to one."""
    return rule.chain.startswith(OURS) or rule.target.startswith(OURS)


def _row(rule: Rule, topology: Topology | None) -> Row:
    why = _why(rule)
    place = (rule.table, rule.chain, rule.position)
    return Row(*place, rule.packets, rule.bytes, meaning(rule, topology), why, rule.text)


def _why(rule: Rule) -> str:
    """Give a rule's reason: its comment; ebtables has none, there the chains' names tell."""
    if rule.comment.startswith(MARK):
        return rule.comment.removeprefix(MARK)
    if not rule.table.startswith("ebtables"):
        return "no reason is given: the rule is not of the lab's scripts"
    policy_id = next(
        (name.removeprefix(_DROP) for name in (rule.chain, rule.target) if name.startswith(_DROP)), ""
    )
    if policy_id:
        return f"{policy_id}: {BUILT_IN.get(policy_id, 'a line of the policy')}"
    return (
        "port, MAC and address belong together" if rule.target == "RETURN" else "each wire has its own chain"
    )


def _journeys(rules: Sequence[Rule]) -> dict[str, tuple[str, ...]]:
    """Give the stations of each journey; between nodes no rule is met until a policy is in force."""
    not_to_the_host = [rule for rule in rules if "--dst-type LOCAL" not in " ".join(rule.matches)]
    policed = any(rule.table == "security" and is_ours(rule) for rule in rules)
    return {
        name: tuple(_stations(points, not_to_the_host if name in (_NODE_OUT, _NODE_TO_NODE) else rules))
        for name, points in JOURNEYS.items()
        if policed or name not in (_NODE_TO_NODE, _NODE_TO_HOST)
    }


def _stations(points: Sequence[str], rules: Sequence[Rule]) -> Iterator[str]:
    """Each point of a journey at which chains of the lab are called."""
    for point in points:
        table, _, chain = point.rpartition(" ")
        called = _called_from(chain, [rule for rule in rules if rule.table == table])
        ours = [name for name in called if name.startswith(OURS)]
        if ours:
            yield f"{point}: {', '.join(ours)}"
        elif point == "routing decision":
            yield point


def _called_from(chain: str, rules: Sequence[Rule]) -> list[str]:
    """Chains a packet may meet from here on, in the order of the rules; each once."""
    found: list[str] = []
    waiting = [chain]
    while waiting:
        current = waiting.pop(0)
        if current not in found:
            found.append(current)
            waiting[:0] = [rule.target for rule in rules if rule.chain == current]
    return found[1:]


def spoken(unread: Unread) -> str:
    """Say of a line why it could not be read."""
    return f"line {unread.line}: {unread.reason}: {unread.text}".removesuffix(": ")
