"""The policy table's loader: security/NAME.tsv goes with topology/NAME.tsv; POLICY=NAME|PATH takes another.

Firewall anomalies and their names: Al-Shaer and Hamed, "Firewall Policy Advisor" (IM 2003).
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lab.table import TableError, TableReader
from lab.topology import ROOT, Topology, base_table
from lab.topology import load as load_topology
from security.policy.model import (
    ACCEPT,
    ANY,
    BUILT_IN,
    DROP,
    HOST,
    LIMIT,
    PROTOCOLS,
    WITH_PORTS,
    WORLD,
    Limit,
    Line,
    Policy,
    Rate,
)

COLUMNS = ("id", "from", "to", "protocol", "port", "rate", "verdict", "reason")
SHIPPED = ROOT / "security"
NONE = "-"
MOST_REASON = 160
LAST_PORT = 65535

_ID = re.compile("[a-z0-9][a-z0-9-]{0,17}")
_PORTS = re.compile("([1-9][0-9]{0,4})(?::([1-9][0-9]{0,4}))?")
_MOST = re.compile("[1-9][0-9]{0,5}")
_RATE = re.compile("([1-9][0-9]{0,4})/(second|minute|hour|day):([1-9][0-9]{0,3})")


class PolicyError(TableError):
    """A policy table that is refused."""


def policy_path(topology: Topology) -> Path | None:
    """Path of the policy that goes with a topology, as POLICY or its name says; None when there is none."""
    given = os.environ.get("POLICY") or _running_policy(base_table(topology.path))
    if given:
        return Path(
            os.path.realpath(given if "/" in given or given.endswith(".tsv") else SHIPPED / f"{given}.tsv")
        )
    beside = SHIPPED / base_table(topology.path).name
    return beside if beside.is_file() else None


def _running_policy(table: Path) -> str:
    """Policy that is in force for this topology, which the rules remember; else empty."""
    try:
        saved = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    found = re.search(r'"cnet: policy: (.*)"', saved)
    return found[1] if found and f'"cnet: table: {table}"' in saved else ""


def load(topology: Topology | None = None) -> Policy:
    """Read the policy of a topology (of the running lab's, when not given), or raise PolicyError."""
    topology = topology or load_topology()
    path = policy_path(topology)
    if path is None:
        raise PolicyError(f"{topology.path}: there is no policy; name one by POLICY=PATH")
    if not path.is_file():
        shipped = " or ".join(f"POLICY={table.stem}" for table in sorted(SHIPPED.glob("*.tsv")))
        raise PolicyError(
            f"{path}: there is no policy; name another, or one of the lab's: sudo make up {shipped}"
        )
    return _Reader(path, topology).read()


class _Reader(TableReader):
    columns = COLUMNS
    error = PolicyError
    prose = True

    def __init__(self, path: Path, topology: Topology) -> None:
        super().__init__(path)
        self.topology = topology
        self.lines: list[Line] = []
        self.limits: list[Limit] = []
        self.names = _members(topology)

    def read(self) -> Policy:
        self.read_lines()
        self.check_against_each_other()
        return Policy(self.path, self.topology, tuple(self.lines), tuple(self.limits))

    def add_row(self) -> None:
        for column in COLUMNS[:-1]:
            if " " in self.row[column]:
                self.refuse(column, f'"{self.row[column]}" has a space; columns are separated by tabs alone')
        if self.row["verdict"] == LIMIT:
            self.limits.append(self.checked_limit())
            return
        protocols = self.checked_protocols()
        self.lines.append(
            Line(
                id=self.checked_id(),
                sources=self.checked_names("from"),
                destinations=self.checked_names("to"),
                protocols=protocols,
                ports=self.checked_ports(protocols),
                rate=self.checked_rate(),
                verdict=self.checked_verdict(),
                reason=self.checked_reason(),
                number=self.line_number,
                as_written=(self.row["from"], self.row["to"]),
            )
        )
        self.check_use(self.lines[-1])

    def checked_limit(self) -> Limit:
        """Read a line that limits the connections that a node has at once, whoever they are to."""
        for column, wanted in (("to", ANY), ("protocol", ANY), ("port", NONE)):
            if self.row[column] != wanted:
                self.refuse(column, f"a limit counts all connections of a node, write {wanted}")
        if not _MOST.fullmatch(self.row["rate"]):
            self.refuse("rate", f'"{self.row["rate"]}" is not a number of connections from 1 to 999999')
        sources = self.checked_names("from")
        if sources & {HOST, WORLD}:
            self.refuse("from", "a limit is for nodes, not for host, world or any")
        return Limit(
            id=self.checked_id(),
            sources=sources,
            most=int(self.row["rate"]),
            reason=self.checked_reason(),
            number=self.line_number,
            as_written=self.row["from"],
        )

    def checked_id(self) -> str:
        name = self.row["id"]
        if not _ID.fullmatch(name):
            self.refuse("id", f'"{name}" is not an id: lower-case letters, digits and -, at most 18')
        if name in BUILT_IN:
            self.refuse("id", f'"{name}" is kept: {BUILT_IN[name]}')
        self.check_unique("id", name)
        return name

    def checked_names(self, column: str) -> frozenset[str]:
        found: set[str] = set()
        for name in self.items(column, none=""):
            if name not in self.names:
                self.refuse(
                    column,
                    f'"{name}" is no node, program or bridge of {self.topology.path}, nor host, world, any',
                )
            found |= self.names[name]
        return frozenset(found)

    def checked_protocols(self) -> tuple[str, ...]:
        items = self.items("protocol", none="")
        for item in items:
            if item not in (*PROTOCOLS, ANY) or (item == ANY and len(items) > 1):
                self.refuse(
                    "protocol", f'"{self.row["protocol"]}" is not {ANY}, nor of {", ".join(PROTOCOLS)}'
                )
        return tuple(dict.fromkeys(items))

    def checked_ports(self, protocols: Sequence[str]) -> tuple[tuple[int, int], ...]:
        ports = tuple(self.checked_range(item) for item in self.items("port"))
        if ports and not set(protocols) <= set(WITH_PORTS):
            self.refuse("port", f'only tcp and udp have ports; write - for "{self.row["protocol"]}"')
        return ports

    def checked_range(self, item: str) -> tuple[int, int]:
        found = _PORTS.fullmatch(item)
        if found:
            first, last = int(found[1]), int(found[2] or found[1])
            if first <= last <= LAST_PORT:
                return first, last
        self.refuse("port", f'"{item}" is not a port from 1 to {LAST_PORT}, nor FIRST:LAST')

    def checked_rate(self) -> Rate | None:
        if self.row["rate"] == NONE:
            return None
        found = _RATE.fullmatch(self.row["rate"])
        if not found:
            self.refuse("rate", f'"{self.row["rate"]}" is not COUNT/second|minute|hour|day:BURST')
        return Rate(int(found[1]), found[2], int(found[3]))

    def checked_verdict(self) -> str:
        verdict = self.row["verdict"]
        if verdict not in (ACCEPT, DROP):
            self.refuse("verdict", f'"{verdict}" is neither {ACCEPT} nor {DROP} nor {LIMIT}')
        if verdict == DROP and self.row["rate"] != NONE:
            self.refuse("rate", "a line that drops has none, write -")
        return verdict

    def checked_reason(self) -> str:
        reason = self.row["reason"]
        if len(reason) > MOST_REASON:
            self.refuse("reason", f"has {len(reason)} characters, a rule's comment takes {MOST_REASON}")
        if '"' in reason or "\\" in reason:
            self.refuse("reason", "has a quote or a backslash, which a rule's comment cannot have")
        return reason

    def check_use(self, line: Line) -> None:
        """Refuse what the lab's rules never see: traffic of host and world among themselves."""
        nodes = {node.name for node in self.topology.nodes}
        if not (line.sources & nodes or line.destinations & nodes):
            self.refuse("to", f"from {self.row['from']} to {self.row['to']} nothing passes the lab")

    def check_against_each_other(self) -> None:
        masks = _Masks(self.names[ANY])
        for line in self.lines:
            self.line_number = line.number
            for earlier in masks.overlapping(line):
                if _covers(earlier, line):
                    by = f'line {earlier.number} ("{earlier.id}")'
                    self.refuse("id", f'"{line.id}" is shadowed by {by}, no packet reaches it')
                if earlier.verdict != line.verdict and not _covers(line, earlier):
                    where = f'line {earlier.number} ("{earlier.id}") in {_where(earlier, line)}'
                    way_out = "make one the exception of the other"
                    self.refuse("verdict", f'"{line.id}" contradicts {where}; {way_out}')
            masks.add(line)


def _members(topology: Topology) -> dict[str, frozenset[str]]:
    """Give what each name of a policy stands for, in nodes, host and world."""
    members: defaultdict[str, set[str]] = defaultdict(set)
    for node in topology.nodes:
        members[node.bridge].add(node.name)
        if node.runs:
            members[node.runs].add(node.name)
    for node in topology.nodes:
        members[node.name].add(node.name)
    members[HOST], members[WORLD] = {HOST}, {WORLD}
    members[ANY] = {HOST, WORLD, *(node.name for node in topology.nodes)}
    return {name: frozenset(found) for name, found in members.items()}


class _Masks:
    """Finds earlier lines that overlap with one. Sets of names are numbers, a bit a name, for speed."""

    def __init__(self, names: Iterable[str]) -> None:
        self._bits = {name: 1 << at for at, name in enumerate(sorted(names))}
        self._by_port: defaultdict[int, list[tuple[int, int, Line]]] = defaultdict(list)
        self._wide: list[tuple[int, int, Line]] = []

    def overlapping(self, line: Line) -> Iterator[Line]:
        sources, destinations = self._masks(line)
        for other_sources, other_destinations, other in self._candidates(line):
            if (
                sources & other_sources
                and destinations & other_destinations
                and _share_protocol(line, other)
                and _share_port(line, other)
            ):
                yield other

    def add(self, line: Line) -> None:
        entry = (*self._masks(line), line)
        if _single(line):
            self._by_port[line.ports[0][0]].append(entry)
        else:
            self._wide.append(entry)

    def _candidates(self, line: Line) -> list[tuple[int, int, Line]]:
        if _single(line):
            return self._by_port[line.ports[0][0]] + self._wide
        return [*(entry for entries in self._by_port.values() for entry in entries), *self._wide]

    def _masks(self, line: Line) -> tuple[int, int]:
        return sum(map(self._bits.__getitem__, line.sources)), sum(
            map(self._bits.__getitem__, line.destinations)
        )


def _single(line: Line) -> bool:
    return len(line.ports) == 1 and line.ports[0][0] == line.ports[0][1]


def _share_protocol(one: Line, other: Line) -> bool:
    return one.any_protocol or other.any_protocol or not set(one.protocols).isdisjoint(other.protocols)


def _share_port(one: Line, other: Line) -> bool:
    if not one.ports or not other.ports:
        return True
    return any(a <= d and c <= b for a, b in one.ports for c, d in other.ports)


def _covers(one: Line, other: Line) -> bool:
    """Tell whether whatever `other` speaks of, `one` speaks of too."""
    return (
        one.sources >= other.sources
        and one.destinations >= other.destinations
        and (one.any_protocol or set(one.protocols) >= set(other.protocols))
        and (not one.ports or _ports_within(other.ports, one.ports))
    )


def _ports_within(inner: Sequence[tuple[int, int]], outer: Sequence[tuple[int, int]]) -> bool:
    return bool(inner) and all(any(a <= c and d <= b for a, b in outer) for c, d in inner)


def _where(one: Line, other: Line) -> str:
    source, destination = min(one.sources & other.sources), min(one.destinations & other.destinations)
    return f"{source} -> {destination}"
