"""Translate a policy into rules, TOOL TABLE -A CHAIN ..., in the order in which a packet meets them.

ebtables, table nat       CNET-FRAMES        each port may send only its own MAC and addresses
iptables, table raw       CNET-ORIGIN        packets from elsewhere may not use an address of the lab
                          CNET-ORIGIN-NODES  packets between nodes skip the other rules of this table
iptables, table security  CNET-FROM-BRIDGES  calls CNET-FROM-NODES; what it allows between nodes skips other rules
                          CNET-FROM-NODES    node -> node, node -> world, by destination: CNET-TO-*
                          CNET-TO-HOST       node -> host
                          CNET-FROM-WORLD    world -> node, through a published port
                          CNET-FROM-HOST     host -> node
                          CNET-ALLOWED       allowed packets of nodes, dropped over the limit of connections
all of them               CNET-DROP-ID       log, NFLOG, drop

Table security comes after table filter (man iptables: mandatory rules after discretionary ones). So a packet
that Docker, a VPN's script or the lab's own NAT accepts in filter is still checked here, whatever the order in
which the rules were loaded, and a packet that the host's firewall drops stays dropped.
Packets of established connections return first; a new connection is checked, and counted against a rate, once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set

from lab.network.facts import mac_of
from lab.topology import Bridge, Node, Topology, base_table
from security.policy import model
from security.policy.matches import flow_matches, place_matches, rate_match
from security.policy.model import BUILT_IN, DEFAULT, DIRECT, HOST, ICMP_SIZE, INVALID, WORLD, Line, Policy

NFLOG_GROUP, PROOF_GROUP = 25955, 25956  # an NFLOG group has one listener, so the proof uses a second group
LOG_PREFIX = "DROPPED: "
LOG_PER_SECOND, LOG_BURST = 5, 20
ALREADY_CHECKED = "already checked by CNET-FROM-NODES"  # explain looks for this comment

_NFLOG_BYTES = 128
_LARGEST_IP_PACKET = 65535
_FRAME_LOG = f"--limit {LOG_PER_SECOND}/sec --limit-burst {LOG_BURST} --log-level warning --log-ip --log-arp"
_PACKET_LOG = f"-m limit --limit {LOG_PER_SECOND}/second --limit-burst {LOG_BURST} -j LOG"
_TO_NODES = "-m addrtype ! --dst-type LOCAL"
_RETURN, _ALLOWED = "-j RETURN", "-g CNET-ALLOWED"


def compile_rules(policy: Policy, state: str = "") -> list[str]:
    """Return all rules in their order within the chains; `state` (what `down` restores) becomes a comment."""
    rules = _Compiler(policy)
    rules.add_frames()
    rules.add_origin()
    rules.add_from_bridges()
    rules.add_from_nodes(state)
    rules.add_to_host()
    rules.add_from_world()
    rules.add_from_host()
    rules.add_limits()
    rules.add_hooks()
    rules.add_drops()
    return rules.rules


def wires(topology: Topology) -> dict[str, list[Node]]:
    """Group the nodes by bridge port; nodes that share a namespace share a port."""
    found: defaultdict[str, list[Node]] = defaultdict(list)
    for node in topology.nodes:
        found[node.bridge_interface].append(node)
    return dict(found)


def drop_chain(policy_id: str) -> str:
    """Return the name of the chain that drops packets under a policy id."""
    return f"CNET-DROP-{policy_id}"


class _Compiler:
    """Collects the rules, and the ids under which they drop packets."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.topology = policy.topology
        self.bridges = [bridge.name for bridge in policy.topology.bridges]
        self.nodes = frozenset(node.name for node in policy.topology.nodes)
        self.rules: list[str] = []
        self.dropping: defaultdict[str, set[str]] = defaultdict(set)  # tool and table -> ids

    def add(self, chain: str, why: str, rule: str = "", table: str = "security") -> None:
        comment = f'-m comment --comment "cnet: {why}"'
        self.rules.append(f"iptables {table} -A {chain} {comment} {rule}".rstrip())

    def add_built_in(self, chain: str, policy_id: str, rule: str, table: str = "security") -> None:
        self.add(chain, f"{policy_id}: {BUILT_IN[policy_id]}", rule, table)

    def drop(self, policy_id: str, table: str = "iptables security") -> str:
        self.dropping[table].add(policy_id)
        return f"-j {drop_chain(policy_id)}"

    # --- ebtables nat: frames of nodes ---

    def add_frames(self) -> None:
        for port, nodes in wires(self.topology).items():
            self.rules.append(f"ebtables nat -A CNET-FRAMES -i {port} -j CNET-WIRE-{port}")
            self.rules += [f"ebtables nat -A CNET-WIRE-{port} {rule}" for rule in self.frame_rules(nodes)]

    def frame_rules(self, nodes: Sequence[Node]) -> Iterator[str]:
        mac = mac_of(nodes[0].address.ip)
        yield f"-s ! {mac} {self.drop('spoofed-mac', 'ebtables nat')}"
        for node in nodes:
            yield f"-p IPv4 --ip-src {node.address.ip} -j RETURN"
            yield f"-p ARP --arp-ip-src {node.address.ip} --arp-mac-src {mac} -j RETURN"
        for match, policy_id in (
            ("-p IPv4 ", "spoofed-address"),
            ("-p ARP ", "spoofed-arp"),
            ("-p IPv6 ", "ipv6"),
            ("", "ethertype"),
        ):
            yield match + self.drop(policy_id, "ebtables nat")

    # --- iptables raw: addresses of the lab that come from elsewhere ---

    def add_origin(self) -> None:
        spoofed = self.drop("spoofed-address", "iptables raw")
        self.add("CNET-ORIGIN", "spoofed-address: the host may talk to itself", "-i lo -j RETURN", "raw")
        self.add_built_in("CNET-ORIGIN", "spoofed-address", spoofed, "raw")
        for bridge in self.topology.bridges:
            why = f"{bridge.name}: packets between nodes skip the other rules of this table"
            self.add("CNET-ORIGIN-NODES", why, f"-d {bridge.address.network} {_TO_NODES} -j ACCEPT", "raw")

    # --- iptables security: allowed connections ---

    def add_from_bridges(self) -> None:
        self.add("CNET-FROM-BRIDGES", "check the policy first", "-j CNET-FROM-NODES")
        for bridge in self.bridges:
            why = f"{bridge}: allowed packets between nodes skip the other rules of this table"
            self.add("CNET-FROM-BRIDGES", why, f"-o {bridge} -j ACCEPT")

    def add_from_nodes(self, state: str) -> None:
        chain = "CNET-FROM-NODES"
        self.add(chain, f"before up: {state}")
        self.add(chain, f"policy: {self.policy.path}")  # table.py reads these two comments
        self.add(chain, f"table: {base_table(self.topology.path)}")
        self.add_ping_sizes(chain)
        self.add_known_connections(chain)
        for node in self.topology.nodes:
            self.add(chain, f"to {node.name}", f"-d {node.address.ip}/32 -g CNET-TO-{node.address.ip}")
        for bridge in self.bridges:
            self.add(
                chain, f"{DEFAULT}: no node of {bridge} has this address", f"-o {bridge} {self.drop(DEFAULT)}"
            )
        self.add(chain, "to the world", "-g CNET-TO-WORLD")
        for node in self.topology.nodes:
            self.add_lines_to(f"CNET-TO-{node.address.ip}", node.name)
        self.add_lines_to("CNET-TO-WORLD", WORLD)

    def add_to_host(self) -> None:
        self.add_ping_sizes("CNET-TO-HOST")
        self.add_known_connections("CNET-TO-HOST")
        self.add_lines_to("CNET-TO-HOST", HOST)

    def add_from_world(self) -> None:
        chain = "CNET-FROM-WORLD"
        for bridge in self.bridges:
            self.add(chain, f"{bridge}: {ALREADY_CHECKED}", f"-i {bridge} {_RETURN}")
        # If no node may ping the world, every ping and every reply from there is dropped by the rules below anyway.
        if self.policy.some_node_may(WORLD, "icmp"):
            self.add_ping_sizes(chain)
        self.add_known_connections(chain)
        self.add_built_in(chain, DIRECT, f"-m conntrack ! --ctstate DNAT {self.drop(DIRECT)}")
        self.add_lines_from(chain, WORLD)

    def add_from_host(self) -> None:
        chain = "CNET-FROM-HOST"
        self.add_ping_sizes(chain)
        # To conntrack, an ICMP error of the host about a packet that it would have masqueraded is INVALID.
        why = "answers: ICMP errors of the host; path MTU discovery needs them"
        self.add(chain, why, f"-p icmp -m icmp --icmp-type 3 {_RETURN}")
        first = next((line for line in self.policy.lines if HOST in line.sources), None)
        allows_all = first is not None and first.verdict == model.ACCEPT and first.decides_all_for(self.nodes)
        self.add_known_connections(chain, replies=not allows_all)
        self.add_lines_from(chain, HOST)

    def add_ping_sizes(self, chain: str) -> None:
        for kind in (8, 0):
            size = f"-m length --length {model.PING_BYTES + 1}:{_LARGEST_IP_PACKET}"
            rule = f"-p icmp -m icmp --icmp-type {kind} {size} {self.drop(ICMP_SIZE)}"
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
        sources = {node.name for node in self.topology.nodes if node.namespace != namespace}
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
            for place in place_matches(flag, self.topology, wanted, undecided) if wanted else ():
                for flow in flow_matches(line):
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
            self.add(chain, why, f"{match} {rate_match(line.id, line.rate)} {accept}")
            self.add(chain, f"{line.id}: over its rate", f"{match} {self.drop(line.id)}")

    def add_limits(self) -> None:
        """Count the connections of each source, so that a node cannot fill the host's connection table.

        Closed connections (TIME_WAIT) do not count; a dropped packet makes no connection.
        """
        for limit in self.policy.limits:
            over = f"-m connlimit --connlimit-above {limit.max_connections} --connlimit-mask 32 --connlimit-saddr"
            for place in place_matches("-s", self.topology, limit.sources, self.nodes):
                rule = f"{place} {over} {self.drop(limit.id)}".lstrip()
                self.add("CNET-ALLOWED", f"{limit.id}: {limit.reason}", rule)

    def add_hooks(self) -> None:
        self.rules.append("ebtables nat -A PREROUTING -j CNET-FRAMES")
        for bridge in self.topology.bridges:
            for table, chain, why, rule in _hooks(bridge):
                self.add(chain, f"{bridge.name}: {why}", rule, table)
        # Each hook is inserted at the top, so these precede the hooks above: packets between two bridges pass both.
        for name in self.bridges:
            self.add("FORWARD", f"{name}: packets from outside to its nodes", f"-o {name} -j CNET-FROM-WORLD")

    def add_drops(self) -> None:
        for place, ids in self.dropping.items():
            tool, table = place.split()
            for policy_id in sorted(ids):
                chain = drop_chain(policy_id)
                if tool == "ebtables":
                    self.rules += [f"{place} -A {chain} {rule}" for rule in _frame_drop(policy_id)]
                else:
                    for why, rule in _packet_drop(policy_id):
                        self.add(chain, f"{policy_id}: {why}", rule, table)
                    self.add(chain, f"{policy_id}: {self.policy.reason_of(policy_id)}", "-j DROP", table)


def _hooks(bridge: Bridge) -> Iterator[tuple[str, str, str, str]]:
    """Return the rules in built-in chains that call the lab's: table, chain, why, rule."""
    name, network = bridge.name, bridge.address.network
    elsewhere, own, from_host = (
        f"-s {network} ! -i {name}",
        f"-s {network} -i {name}",
        f"-d {network} {_TO_NODES}",
    )
    yield "raw", "PREROUTING", "packets from elsewhere with its addresses", f"{elsewhere} -j CNET-ORIGIN"
    yield "security", "FORWARD", "packets from its nodes", f"-i {name} -j CNET-FROM-BRIDGES"
    yield "raw", "PREROUTING", "packets from its nodes", f"{own} -j CNET-ORIGIN-NODES"
    yield "security", "INPUT", "packets from its nodes to the host", f"-i {name} -j CNET-TO-HOST"
    yield "security", "OUTPUT", "packets from the host to its nodes", f"{from_host} -j CNET-FROM-HOST"


def _frame_drop(policy_id: str) -> Iterator[str]:
    prefix = f'"{LOG_PREFIX}{policy_id} "'
    yield f"{_FRAME_LOG} --log-prefix {prefix} -j CONTINUE"
    for group in (NFLOG_GROUP, PROOF_GROUP):
        yield f"--nflog-group {group} --nflog-prefix {prefix} --nflog-range {_NFLOG_BYTES} -j CONTINUE"
    yield "-j DROP"


def _packet_drop(policy_id: str) -> Iterator[tuple[str, str]]:
    """Return the rules before the drop: why, rule."""
    prefix = f'"{LOG_PREFIX}{policy_id} "'
    yield f"log at most {LOG_PER_SECOND} packets a second", f"{_PACKET_LOG} --log-prefix {prefix}"
    for group, why in (
        (NFLOG_GROUP, "copy for tcpdump and the dashboard"),
        (PROOF_GROUP, "copy for the proof"),
    ):
        yield why, f"-j NFLOG --nflog-group {group} --nflog-prefix {prefix} --nflog-size {_NFLOG_BYTES}"
