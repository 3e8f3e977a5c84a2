"""The page of the lab's rules: each rule with its meaning, in the order of a packet's path."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby

from lab.document import Document, Rows, Section
from lab.ruleset.iptables import Rule, Saved, Unread
from lab.topology import Topology
from security.policy.drops import drop_chain
from security.policy.model import BUILT_IN
from security.rules.english import Names, meaning, names_of

TITLE = "The live rules of the lab"
NOTE = (
    "A chain of table nat sees only the first packet of a connection; later packets and replies are translated "
    "like the first."
)
COLUMNS = ("table", "chain", "position", "packets", "bytes", "meaning", "why", "rule")
CELLS = ("#", "what it does", "why it is there", "packets", "bytes", "the rule")

_OURS, _MARK, _DROP = "CNET-", "cnet: ", drop_chain("")
# Of these chains a packet meets one at most: beginning of their names -> the chain that it meets.
_ONE_OF_MANY = {
    "CNET-WIRE-": "CNET-WIRE-(its port of the bridge)",
    "CNET-TO-1": "CNET-TO-(its destination)",
    "CNET-TO-2": "CNET-TO-(its destination)",
    _DROP: f"{_DROP}(the id of the line that refuses it)",
}
# The points where the kernel runs rules on a packet, in order (priorities of linux/netfilter_ipv4.h).
_IN = ("raw PREROUTING", "mangle PREROUTING", "nat PREROUTING", "routing decision")
_THROUGH = ("mangle FORWARD", "filter FORWARD", "security FORWARD", "mangle POSTROUTING", "nat POSTROUTING")
_TO_HOST = ("mangle INPUT", "filter INPUT", "security INPUT")
_FROM_HOST = (
    *("routing decision", "raw OUTPUT", "mangle OUTPUT", "nat OUTPUT"),
    *("routing decision", "filter OUTPUT", "security OUTPUT"),
)
_IPV6 = "ip6tables "  # begins the names of its tables
_INTO, _LOCAL_INTO = "outside -> published port", "localhost -> published port"
_NODE_OUT, _NODE_TO_NODE, _NODE_TO_HOST = "node -> outside", "node -> node", "node -> host"
_JOURNEYS = {
    _INTO: (*_IN, *_THROUGH),
    _NODE_OUT: (*_IN, *_THROUGH),
    _NODE_TO_NODE: ("ebtables nat PREROUTING", *_IN[:-1], *_THROUGH),
    _NODE_TO_HOST: ("ebtables nat PREROUTING", *_IN, *_TO_HOST),
    _LOCAL_INTO: (*_FROM_HOST, *_THROUGH[3:]),
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
        """Return the cells under CELLS; table and chain are in the heading above."""
        counted = (f"{self.packets:,}", f"{self.bytes:,}")
        return (str(self.position), self.meaning, self.why, *counted, self.rule)


@dataclass(frozen=True)
class Page:
    """The content of the page, for all formats."""

    generated: str
    command: str
    journeys: dict[str, tuple[str, ...]]
    rows: tuple[Row, ...]
    unread: tuple[Unread, ...]

    @property
    def chains(self) -> Iterator[tuple[str, tuple[Row, ...]]]:
        """Yield the name of each table and chain, with its rows."""
        for name, rows in groupby(self.rows, key=lambda row: f"{row.table} {row.chain}"):
            yield name, tuple(rows)


def page_of(saved: Saved, topology: Topology | None, generated: str = "", command: str = "") -> Page:
    """Return the page of the rules that are the lab's."""
    names = names_of(topology) if topology else {}
    rows = tuple(_row(rule, names) for rule in saved.rules if is_ours(rule))
    four, six = _journeys(saved.rules), _journeys(_as_of_ipv4(saved.rules))
    if any(row.table.startswith(_IPV6) for row in rows):
        four |= {f"{name}, IPv6": stations for name, stations in six.items() if stations != four.get(name)}
    return Page(generated, command, four, rows, tuple(saved.unread))


def _as_of_ipv4(rules: Sequence[Rule]) -> list[Rule]:
    """Return the rules that a packet of IPv6 meets, with their tables named as in IPv4; ebtables has both families."""
    return [
        replace(rule, table=rule.table.removeprefix(_IPV6))
        for rule in rules
        if rule.table.startswith((_IPV6, "ebtables"))
    ]


def is_ours(rule: Rule) -> bool:
    """Decide whether a rule is in a chain of the lab or jumps to one."""
    return rule.chain.startswith(_OURS) or rule.target.startswith(_OURS)


def _row(rule: Rule, names: Names) -> Row:
    place = (rule.table, rule.chain, rule.position)
    return Row(*place, rule.packets, rule.bytes, meaning(rule, names), _why(rule), rule.text)


def _why(rule: Rule) -> str:
    """Return a rule's reason: its comment, or for ebtables, which has none, the meaning of the chain's name."""
    if rule.comment.startswith(_MARK):
        return rule.comment.removeprefix(_MARK)
    if not rule.table.startswith("ebtables"):
        return "no reason is given: the rule is not from the lab's scripts"
    for name in (rule.chain, rule.target):
        if name.startswith(_DROP):
            policy_id = name.removeprefix(_DROP)
            return f"{policy_id}: {BUILT_IN.get(policy_id, 'a line of the policy')}"
    return (
        "port, MAC and address belong together" if rule.target == "RETURN" else "each port has its own chain"
    )


def _journeys(rules: Sequence[Rule]) -> dict[str, tuple[str, ...]]:
    """Return the chains on each way of a packet; between nodes there are none until a policy is in force."""
    has_policy = any(rule.table == "security" and is_ours(rule) for rule in rules)
    return {
        name: tuple(_stations(points, [rule for rule in rules if _may_match(rule, name)]))
        for name, points in _JOURNEYS.items()
        if has_policy or name not in (_NODE_TO_NODE, _NODE_TO_HOST)
    }


def _may_match(rule: Rule, journey: str) -> bool:
    """Decide whether a rule of a hook may match a packet on its journey, by the bridge that it names."""
    words = " ".join(rule.matches)
    if journey in (_NODE_OUT, _NODE_TO_NODE) and "--dst-type LOCAL" in words:
        return False
    if rule.chain.startswith(_OURS):
        return True
    enters, leaves = ("-i " in words, "-o " in words)
    if journey in (_INTO, _LOCAL_INTO):
        return not enters
    return not (journey == _NODE_OUT and leaves and not enters)


def _stations(points: Sequence[str], rules: Sequence[Rule]) -> Iterator[str]:
    """Return each point at which chains of the lab are called, with these chains."""
    for point in points:
        table, _, chain = point.rpartition(" ")
        called = _called_from(chain, [rule for rule in rules if rule.table == table])
        ours = dict.fromkeys(_kind_of(name) for name in called if name.startswith(_OURS))
        if ours:
            yield f"{point}: {', '.join(ours)}"
        elif point == "routing decision":
            yield point


def _kind_of(chain: str) -> str:
    """Return a chain's name, or of many chains of which a packet meets one, which one it meets."""
    return next((met for start, met in _ONE_OF_MANY.items() if chain.startswith(start)), chain)


def _called_from(chain: str, rules: Sequence[Rule]) -> list[str]:
    """Return the chains that a packet may reach from a chain, in the order of the rules; each once."""
    found: list[str] = []
    waiting = [chain]
    while waiting:
        current = waiting.pop(0)
        if current not in found:
            found.append(current)
            waiting[:0] = [rule.target for rule in rules if rule.chain == current]
    return found[1:]


def unread_line(unread: Unread) -> str:
    """Return the reason why a line is unreadable, and the line."""
    return f"line {unread.line}: {unread.reason}: {unread.text}".removesuffix(": ")


def as_json(page: Page) -> str:
    """Return the page as JSON."""
    return json.dumps(asdict(page), indent=2) + "\n"


def as_lines(page: Page) -> str:
    """Return one rule a line, tabs between the columns, and comments after #."""
    lines = [f"# {TITLE}, {page.generated}, {page.command}"]
    lines += [f"# {name}: {' -> '.join(stations)}" for name, stations in page.journeys.items()]
    lines += [f"# {NOTE}", "\t".join(COLUMNS)]
    lines += ["\t".join(map(str, asdict(row).values())) for row in page.rows]
    return "\n".join(lines) + "\n"


def as_document(page: Page) -> Document:
    """Return the page as a document: the ways of packets, then one table for each chain."""
    ways = [(name, "\n".join(stations)) for name, stations in page.journeys.items()]
    table = Rows(
        ("way of a packet", "hooks with rules of the lab, and the chains there, in this order"), ways, (1, 4)
    )
    sections = [Section("What a packet meets", [NOTE, table])]
    for name, rows in page.chains:
        cells = [row.cells for row in rows]
        sections.append(Section(name, [Rows(CELLS, cells, (8, 66, 46, 17, 18, 113), code=(CELLS[-1],))]))
    if page.unread:
        sections.append(
            Section("Lines that could not be read", [unread_line(unread) for unread in page.unread])
        )
    return Document(TITLE, f"Generated on {page.generated} by {page.command}", sections)
