"""The rules of iptables or of ip6tables: the policy, for the nodes that have an address in that family."""

from __future__ import annotations

from collections.abc import Iterable, Set

from lab.family import IPV4, IPV6, Family
from lab.topology import Node, base_table
from security.policy import icmp6, model
from security.policy.matches import flow_matches, place_matches, rate_match
from security.policy.model import DEFAULT, DIRECT, HOST, ICMP_SIZE, INVALID, WORLD, Line, Policy
from security.policy.rule_list import RuleList

_TO_NODES = "-m addrtype ! --dst-type LOCAL"
_LONGEST_NAME = 28  # of a chain
_RETURN, _ALLOWED = "-j RETURN", "-g CNET-ALLOWED"


def packet_rules(policy: Policy, family: Family, state: str) -> RuleList:
    """Return the rules of one family; if the table gives no address in it, none but the comments of iptables."""
    return _PacketRules(policy, family, state)


def chain_to(node: Node) -> str:
    """Return the name of the chain of packets to a node: its address, or its line in the table if that is too long."""
    name = f"CNET-TO-{node.address.ip}"
    return name if len(name) <= _LONGEST_NAME else f"CNET-TO-LINE-{node.line}"


class _PacketRules(RuleList):
    """Adds the rules, chain by chain."""

    def __init__(self, policy: Policy, family: Family, state: str) -> None:
        super().__init__(policy, family)
        self.topology = policy.topology
        self.networks = {
            bridge.name: address.network for bridge, address in family.addresses(policy.topology.bridges)
        }
        self.addresses = dict(family.addresses(policy.topology.nodes))
        self.nodes = frozenset(node.name for node in self.addresses)
        if self.family == IPV4:
            self.add_state(state)
        if self.networks:
            self.add_origin()
            self.add_from_bridges()
            self.add_from_nodes()
            self.add_to_host()
            self.add_from_world()
            self.add_from_host()
            self.add_limits()
            self.add_hooks()

    # --- table raw: addresses of the lab that come from elsewhere ---

    def add_origin(self) -> None:
        spoofed = self.drop("spoofed-address", "raw")
        self.add("CNET-ORIGIN", "spoofed-address: the host may talk to itself", "-i lo -j RETURN", "raw")
        self.add_built_in("CNET-ORIGIN", "spoofed-address", spoofed, "raw")
        if self.family == IPV6:
            icmp6.add_origin_rules(self)
        for bridge, network in self.networks.items():
            why = f"{bridge}: packets between nodes skip the other rules of this table"
            self.add("CNET-ORIGIN-NODES", why, f"-d {network} {_TO_NODES} -j ACCEPT", "raw")

    # --- table security: allowed connections ---

    def add_from_bridges(self) -> None:
        self.add("CNET-FROM-BRIDGES", "check the policy first", "-j CNET-FROM-NODES")
        for bridge in self.networks:
            why = f"{bridge}: allowed packets between nodes skip the other rules of this table"
            self.add("CNET-FROM-BRIDGES", why, f"-o {bridge} -j ACCEPT")

    def add_state(self, state: str) -> None:
        """Add the state as comments, to iptables alone, also for IPv6 alone; table.py reads the last two."""
        self.add("CNET-FROM-NODES", f"before up: {state}")
        self.add("CNET-FROM-NODES", f"policy: {self.policy.path}")
        self.add("CNET-FROM-NODES", f"table: {base_table(self.topology.path)}")

    def add_from_nodes(self) -> None:
        chain = "CNET-FROM-NODES"
        self.add_icmp(chain)
        self.add_known_connections(chain)
        for node, address in self.addresses.items():
            self.add(chain, f"to {node.name}", f"-d {address.ip}/{self.family.alone} -g {chain_to(node)}")
        for bridge in self.networks:
            none = f"{DEFAULT}: no node of {bridge} has this address"
            self.add(chain, none, f"-o {bridge} {self.drop(DEFAULT)}")
        self.add(chain, "to the world", "-g CNET-TO-WORLD")
        for node in self.addresses:
            self.add_lines_to(chain_to(node), node.name)
        self.add_lines_to("CNET-TO-WORLD", WORLD)

    def add_to_host(self) -> None:
        self.add_icmp("CNET-TO-HOST")
        self.add_known_connections("CNET-TO-HOST")
        self.add_lines_to("CNET-TO-HOST", HOST)

    def add_from_world(self) -> None:
        chain = "CNET-FROM-WORLD"
        for bridge in self.networks:
            self.add(chain, f"{bridge}: already checked by CNET-FROM-NODES", f"-i {bridge} {_RETURN}")
        # If no node may ping the world, every ping and every reply from there is dropped by the rules below anyway.
        if self.policy.some_node_may(WORLD, "icmp"):
            self.add_ping_sizes(chain)
        self.add_known_connections(chain)
        self.add_built_in(chain, DIRECT, f"-m conntrack ! --ctstate DNAT {self.drop(DIRECT)}")
        self.add_lines_from(chain, WORLD)

    def add_from_host(self) -> None:
        chain = "CNET-FROM-HOST"
        self.add_icmp(chain)
        # To conntrack, an ICMP error of the host about a packet that it would have masqueraded is INVALID.
        why = "answers: ICMP errors of the host; path MTU discovery needs them"
        for error in self.family.unreachable:
            self.add(chain, why, f"{self.family.icmp.format(error)} {_RETURN}")
        first = next((line for line in self.policy.lines if HOST in line.sources), None)
        allows_all = first is not None and first.verdict == model.ACCEPT and first.decides_all_for(self.nodes)
        self.add_known_connections(chain, replies=not allows_all)
        self.add_lines_from(chain, HOST)

    def add_icmp(self, chain: str) -> None:
        self.add_ping_sizes(chain)
        if self.family == IPV6:
            icmp6.add_neighbours(self, chain)

    def add_ping_sizes(self, chain: str) -> None:
        for kind in self.family.echo:
            size = f"-m length {self.family.length_above.format(self.ping_bytes + 1, self.ping_bytes)}"
            rule = f"{self.family.icmp.format(kind)} {size} {self.drop(ICMP_SIZE)}"
            self.add_built_in(chain, ICMP_SIZE, rule)

    def add_known_connections(self, chain: str, *, replies: bool = True) -> None:
        if replies:
            self.add_built_in(chain, "answers", f"-m conntrack --ctstate RELATED,ESTABLISHED {_RETURN}")
        self.add_built_in(chain, INVALID, f"-m conntrack --ctstate INVALID {self.drop(INVALID)}")

    def add_lines_to(self, chain: str, destination: str) -> None:
        """Add the lines for traffic from nodes to one destination."""
        target = self.topology.node(destination)
        # Packets within a namespace reach the rules only if they go to a published port by the host's address.
        namespace = target.namespace if target and not target.publishes else None
        sources = {node.name for node in self.addresses if node.namespace != namespace}
        lines = [(line, line.sources) for line in self.policy.lines if destination in line.destinations]
        accept = _ALLOWED if self.policy.limits else _RETURN
        self.add_lines(chain, "-s", lines, sources, accept)

    def add_lines_from(self, chain: str, source: str) -> None:
        """Add the lines for traffic from the host or the world to nodes."""
        lines = [(line, line.destinations) for line in self.policy.lines if source in line.sources]
        self.add_lines(chain, "-d", lines, self.nodes, _RETURN)

    def add_lines(
        self, chain: str, flag: str, lines: Iterable[tuple[Line, Set[str]]], undecided: Set[str], accept: str
    ) -> None:
        """Add lines in their order; a line that decides everything about a node ends the matches for it."""
        for line, names in lines:
            wanted = names & undecided
            places = place_matches(flag, self.topology, self.family, wanted, undecided) if wanted else ()
            for place in places:
                for flow in flow_matches(line, self.family):
                    self.add_line(chain, line, " ".join(filter(None, (place, flow))), accept)
            if line.any_protocol and line.rate is None:
                undecided = undecided - wanted
        self.add_built_in(chain, DEFAULT, self.drop(DEFAULT))

    def add_line(self, chain: str, line: Line, match: str, accept: str) -> None:
        why = f"{line.id}: {line.reason}"
        if line.verdict != model.ACCEPT:
            self.add(chain, why, f"{match} {self.drop(line.id)}")
        elif line.rate is None:
            self.add(chain, why, f"{match} {accept}")
        else:
            # A client outside has a whole IPv6 network, but a node has one address (ebtables checks it).
            source = self.family.client if chain == "CNET-FROM-WORLD" else self.family.alone
            rate = rate_match(line.id, line.rate, 0 if source == self.family.alone else source)
            self.add(chain, why, f"{match} {rate} {accept}")
            self.add(chain, f"{line.id}: over its rate", f"{match} {self.drop(line.id)}")

    def add_limits(self) -> None:
        """Count the connections of each source, so that a node cannot fill the host's connection table.

        Closed connections (TIME_WAIT) do not count; a dropped packet makes no connection.
        """
        for limit in self.policy.limits:
            count, source = limit.max_connections, self.family.alone
            over = f"-m connlimit --connlimit-above {count} --connlimit-mask {source} --connlimit-saddr"
            for place in place_matches("-s", self.topology, self.family, limit.sources, self.nodes):
                rule = f"{place} {over} {self.drop(limit.id)}".lstrip()
                self.add("CNET-ALLOWED", f"{limit.id}: {limit.reason}", rule)

    def add_hooks(self) -> None:
        """Add the rules in built-in chains that call the lab's."""
        for name, network in self.networks.items():
            elsewhere, own = f"-s {network} ! -i {name}", f"-s {network} -i {name}"
            for table, chain, why, rule in (
                (
                    "raw",
                    "PREROUTING",
                    "packets from elsewhere with its addresses",
                    f"{elsewhere} -j CNET-ORIGIN",
                ),
                ("security", "FORWARD", "packets from its nodes", f"-i {name} -j CNET-FROM-BRIDGES"),
                ("raw", "PREROUTING", "packets from its nodes", f"{own} -j CNET-ORIGIN-NODES"),
                ("security", "INPUT", "packets from its nodes to the host", f"-i {name} -j CNET-TO-HOST"),
                (
                    "security",
                    "OUTPUT",
                    "packets from the host to its nodes",
                    f"-d {network} {_TO_NODES} -j CNET-FROM-HOST",
                ),
            ):
                self.add_hook(chain, f"{name}: {why}", rule, table)
        # Each hook is inserted at the top, so these precede the hooks above: packets between two bridges pass both.
        for name in self.networks:
            self.add_hook(
                "FORWARD", f"{name}: packets from outside to its nodes", f"-o {name} -j CNET-FROM-WORLD"
            )
