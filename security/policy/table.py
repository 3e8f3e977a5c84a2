"""Load the policy table: security/NAME.tsv goes with topology/NAME.tsv; POLICY=NAME|PATH selects another.

Firewall anomalies and their names: Al-Shaer and Hamed, "Firewall Policy Advisor" (IM 2003).
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Sequence
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
    LAST_PORT,
    LIMIT,
    PROTOCOLS,
    WITH_PORTS,
    WORLD,
    Line,
    Policy,
    Rate,
)

COLUMNS = ("id", "from", "to", "protocol", "port", "rate", "verdict", "reason")

_SHIPPED = ROOT / "security"
_NONE = "-"
_MAX_REASON = 160
_ID = re.compile("[a-z0-9][a-z0-9-]{0,17}")
_PORTS = re.compile("([1-9][0-9]{0,4})(?::([1-9][0-9]{0,4}))?")
_CONNECTIONS = re.compile("[1-9][0-9]{0,5}")
_RATE = re.compile("([1-9][0-9]{0,4})/(second|minute|hour|day):([1-9][0-9]{0,3})")


class PolicyError(TableError):
    """A policy table that is not valid."""


def policy_path(topology: Topology) -> Path | None:
    """Return the policy's path: from POLICY, the running rules, or the topology's name; None if there is none."""
    given = os.environ.get("POLICY") or _running_policy(base_table(topology.path))
    if given:
        is_path = "/" in given or given.endswith(".tsv")
        return Path(os.path.realpath(given if is_path else _SHIPPED / f"{given}.tsv"))
    beside = Path(os.path.realpath(_SHIPPED / base_table(topology.path).name))  # that of dual.tsv is a link
    return beside if beside.is_file() else None


def _running_policy(table: Path) -> str:
    """Return the path of the policy that is in force for a topology, from the rules' comments; else empty."""
    try:
        saved = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    found = re.search(r'"cnet: policy: (.*)"', saved)
    return found[1] if found and f'"cnet: table: {table}"' in saved else ""


def load(topology: Topology | None = None) -> Policy:
    """Read the policy of a topology (default: the running lab's). Raise PolicyError."""
    topology = topology or load_topology()
    path = policy_path(topology)
    if path is None:
        name = base_table(topology.path).name
        raise PolicyError(
            f"there is no policy for {topology.path}; write security/{name} (security/flat.tsv explains the columns),"
            " or name one with POLICY=PATH"
        )
    if not path.is_file():
        shipped = " or ".join(
            f"POLICY={table.stem}" for table in sorted(_SHIPPED.glob("*.tsv")) if not table.is_symlink()
        )
        raise PolicyError(
            f"{path}: no such policy file; use another, or one of the lab's: sudo make up {shipped}"
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
        self.limits: list[Line] = []
        self.names = _members(topology)

    def read(self) -> Policy:
        self.read_lines()
        self.check_against_each_other()
        return Policy(self.path, self.topology, tuple(self.lines), tuple(self.limits))

    def add_row(self) -> None:
        for column in COLUMNS[:-1]:
            value = self.row[column]
            self.require(" " not in value, column, f'"{value}" has a space; only tabs separate columns')
        is_limit = self.row["verdict"] == LIMIT
        if is_limit:
            self.check_limit()
        protocols = self.read_protocols()
        line = Line(
            id=self.read_id(),
            sources=self.read_names("from"),
            destinations=self.read_names("to"),
            protocols=protocols,
            ports=self.read_ports(protocols),
            rate=None if is_limit else self.read_rate(),
            max_connections=int(self.row["rate"]) if is_limit else 0,
            verdict=self.read_verdict(),
            reason=self.read_reason(),
            number=self.line_number,
            as_written=(self.row["from"], self.row["to"]),
        )
        has_node = not line.sources | line.destinations <= {HOST, WORLD}
        unseen = f"packets from {self.row['from']} to {self.row['to']} do not pass through the lab"
        self.require(has_node, "to", unseen)
        (self.limits if is_limit else self.lines).append(line)

    def check_limit(self) -> None:
        """Check a line that limits how many connections a node has at once, to any destination."""
        for column, wanted in (("to", ANY), ("protocol", ANY), ("port", _NONE)):
            reason = f"a limit counts all connections of a node, write {wanted}"
            self.require(self.row[column] == wanted, column, reason)
        connections = self.row["rate"]
        reason = f'"{connections}" is not a number of connections from 1 to 999999'
        self.require(_CONNECTIONS.fullmatch(connections), "rate", reason)
        has_nodes = not self.read_names("from") & {HOST, WORLD}
        self.require(has_nodes, "from", "a limit is for nodes, not for host, world or any")

    def read_id(self) -> str:
        name = self.row["id"]
        self.require(
            _ID.fullmatch(name), "id", f'"{name}" is not an id: lower-case letters, digits and -, at most 18'
        )
        self.require(name not in BUILT_IN, "id", f'"{name}" is a built-in id; choose another')
        self.check_unique("id", name)
        return name

    def read_names(self, column: str) -> frozenset[str]:
        found: set[str] = set()
        for name in self.items(column, none=""):
            unknown = (
                f'"{name}" is not a node, program or bridge of {self.topology.path}, nor host, world, any'
            )
            self.require(name in self.names, column, unknown)
            found |= self.names[name]
        return frozenset(found)

    def read_protocols(self) -> tuple[str, ...]:
        items = self.items("protocol", none="")
        known = items == [ANY] or set(items) <= set(PROTOCOLS)
        reason = f'"{self.row["protocol"]}" is neither {ANY} nor a list of {", ".join(PROTOCOLS)}'
        self.require(known, "protocol", reason)
        return tuple(dict.fromkeys(items))

    def read_ports(self, protocols: Sequence[str]) -> tuple[tuple[int, int], ...]:
        ports = tuple(self.read_range(item) for item in self.items("port"))
        without = f'only tcp and udp have ports; write - for "{self.row["protocol"]}"'
        self.require(not ports or set(protocols) <= set(WITH_PORTS), "port", without)
        return ports

    def read_range(self, item: str) -> tuple[int, int]:
        if found := _PORTS.fullmatch(item):
            first, last = int(found[1]), int(found[2] or found[1])
            if first <= last <= LAST_PORT:
                return first, last
        self.refuse("port", f'"{item}" is not a port from 1 to {LAST_PORT}, nor FIRST:LAST')

    def read_rate(self) -> Rate | None:
        rate = self.row["rate"]
        if rate == _NONE:
            return None
        if not (found := _RATE.fullmatch(rate)):
            self.refuse("rate", f'"{rate}" is not COUNT/second|minute|hour|day:BURST')
        return Rate(int(found[1]), found[2], int(found[3]))

    def read_verdict(self) -> str:
        verdict = self.row["verdict"]
        wrong = f'"{verdict}" is neither {ACCEPT} nor {DROP} nor {LIMIT}'
        self.require(verdict in (ACCEPT, DROP, LIMIT), "verdict", wrong)
        has_rate = verdict == DROP and self.row["rate"] != _NONE
        self.require(not has_rate, "rate", "a line that drops has no rate, write -")
        return verdict

    def read_reason(self) -> str:
        reason = self.row["reason"]
        too_long = f"has {len(reason)} characters, a rule's comment holds {_MAX_REASON}"
        self.require(len(reason) <= _MAX_REASON, "reason", too_long)
        quoted = '"' in reason or "\\" in reason
        self.require(not quoted, "reason", "has a quote or a backslash, which a rule's comment cannot have")
        return reason

    def check_against_each_other(self) -> None:
        """Check each line against earlier ones; only lines that may have a port in common are compared."""
        by_port: defaultdict[int, list[Line]] = defaultdict(list)  # 0: lines with any or several ports
        for line in self.lines:
            self.line_number, port = line.number, line.only_port
            of_ports = (by_port[port], by_port[0]) if port else by_port.values()
            for earlier in (other for lines in of_ports for other in lines if other.overlaps(line)):
                self.check_pair(earlier, line)
            by_port[port].append(line)

    def check_pair(self, earlier: Line, line: Line) -> None:
        by = f'line {earlier.number} ("{earlier.id}")'
        if earlier.covers(line):
            self.refuse("id", f'"{line.id}" is shadowed by {by}, no packet reaches it')
        if earlier.verdict != line.verdict and not line.covers(earlier):
            source = min(earlier.sources & line.sources)
            pair = f"{source} -> {min(earlier.destinations & line.destinations)}"
            fix = "make one the exception of the other"
            self.refuse("verdict", f'"{line.id}" contradicts {by} in {pair}; {fix}')


def _members(topology: Topology) -> dict[str, frozenset[str]]:
    """Return the members of each name in a policy: nodes, host and world."""
    members: defaultdict[str, set[str]] = defaultdict(set, {ANY: {HOST, WORLD}})
    for node in topology.nodes:
        for name in (node.name, node.runs or node.name, node.bridge, ANY):
            members[name].add(node.name)
    members |= {HOST: {HOST}, WORLD: {WORLD}}
    return {name: frozenset(found) for name, found in members.items()}
