"""From a policy to rules: TOOL TABLE -A CHAIN ..., each with its policy id as comment.

ebtables, table nat       CNET-FRAMES      who puts what onto the wire: port, MAC and address belong together
iptables, table raw       CNET-ORIGIN      nobody outside uses an address of the lab
                          CNET-ORIGIN-NODES  packets between nodes meet no other rule of this table
iptables, table security  CNET-FROM-BRIDGES  asks CNET-FROM-NODES; what it allows between nodes meets no other rule
                          CNET-FROM-NODES  node -> node, node -> world, by destination: CNET-TO-*
                          CNET-TO-HOST     node -> host
                          CNET-FROM-WORLD  world -> node, through a published port
                          CNET-FROM-HOST   host -> node
                          CNET-ALLOWED     what a node may send, unless it has too many connections already
every one of them         CNET-DROP-ID     log, NFLOG, drop

Table security is asked after table filter (man iptables: mandatory rules after discretionary ones). So
whatever anybody accepts in filter (Docker, a VPN's script, the lab's own NAT) still has to pass here, in
whatever order the rules were loaded; and what a firewall of the host drops there stays dropped: the policy
only takes away.
Established connections return first; a new one is judged, and counted against a rate, once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set

from lab.topology import Node, Topology, base_table
from security.policy.model import (
    ACCEPT,
    BUILT_IN,
    DEFAULT,
    DIRECT,
    HOST,
    ICMP_SIZE,
    INVALID,
    PING_BYTES,
    WITH_PORTS,
    WORLD,
    Line,
    Policy,
    Rate,
)

NFLOG_GROUP, PROOF_GROUP = 25955, 25956  # a group has one listener at a time: the proof has its own
NFLOG_BYTES = 128
LOG_PREFIX = "DROPPED: "
LOG_PER_SECOND, LOG_BURST = 5, 20
FRAME_LOG = f"--limit {LOG_PER_SECOND}/sec --limit-burst {LOG_BURST} --log-level warning --log-ip --log-arp"
LOG_LIMIT = f"-m limit --limit {LOG_PER_SECOND}/second --limit-burst {LOG_BURST}"
LARGEST_IP_PACKET = 65535
RETURN, ALLOWED = "-j RETURN", "-g CNET-ALLOWED"
MOST_PORTS = 15  # of one multiport match; a range counts twice (man iptables-extensions)


def compiled(policy: Policy, memory: str) -> Iterator[str]:
    """Give all rules in the order in which they belong into their chains.

    `memory` is kept with the rules: what has to be given back when they go.
    """
    rules = _Rules(policy)
    yield from rules.frames()
    yield from rules.origin()
    yield from rules.from_bridges()
    yield from rules.from_nodes(memory)
    yield from rules.to_host()
    yield from rules.from_world()
    yield from rules.from_host()
    yield from rules.limits()
    yield from rules.hooks()
    yield from rules.drops()


def mac_of(node: Node) -> str:
    """MAC of a wire, as network.sh gives it: 02:42 and the address of the first node on it."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in node.address.ip.packed)


def wires(topology: Topology) -> dict[str, list[Node]]:
    """Nodes by the bridge port they are reached through; several when they share a namespace."""
    found: defaultdict[str, list[Node]] = defaultdict(list)
    for node in topology.nodes:
        found[node.bridge_interface].append(node)
    return dict(found)


def drop_chain(policy_id: str) -> str:
    """Name the chain that drops on behalf of a line."""
    return f"CNET-DROP-{policy_id}"


def in_force(policy: Policy) -> tuple[str, str]:
    """Say which tables are in force, each in a comment of its own; policy_path() reads them again."""
    return f"cnet: policy: {policy.path}", f"cnet: table: {base_table(policy.topology.path)}"


class _Rules:
    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.topology = policy.topology
        self.bridges = [bridge.name for bridge in policy.topology.bridges]
        self.dropping: dict[str, set[str]] = defaultdict(set)  # ids by tool and table

    def drop(self, policy_id: str, table: str = "iptables security") -> str:
        self.dropping[table].add(policy_id)
        return f"-j {drop_chain(policy_id)}"

    # --- ebtables: the wire ---

    def frames(self) -> Iterator[str]:
        for port, nodes in wires(self.topology).items():
            yield f"ebtables nat -A CNET-FRAMES -i {port} -j CNET-WIRE-{port}"
            for rule in self.wire(nodes):
                yield f"ebtables nat -A CNET-WIRE-{port} {rule}"

    def wire(self, nodes: Sequence[Node]) -> Iterator[str]:
        mac = mac_of(nodes[0])
        yield f"-s ! {mac} {self.frame_drop('spoofed-mac')}"
        for node in nodes:
            yield f"-p IPv4 --ip-src {node.address.ip} -j RETURN"
            yield f"-p ARP --arp-ip-src {node.address.ip} --arp-mac-src {mac} -j RETURN"
        yield f"-p IPv4 {self.frame_drop('spoofed-address')}"
        yield f"-p ARP {self.frame_drop('spoofed-arp')}"
        yield f"-p IPv6 {self.frame_drop('ipv6')}"
        yield self.frame_drop("ethertype")

    def frame_drop(self, policy_id: str) -> str:
        return self.drop(policy_id, "ebtables nat")

    # --- iptables raw: addresses of the lab that come from elsewhere ---

    def origin(self) -> Iterator[str]:
        yield _rule(
            "raw", "CNET-ORIGIN", _why("spoofed-address", "the host speaks to itself"), "-i lo -j RETURN"
        )
        yield _rule(
            "raw", "CNET-ORIGIN", _built_in("spoofed-address"), self.drop("spoofed-address", "iptables raw")
        )
        for bridge in self.topology.bridges:
            why = f"cnet: {bridge.name}: packets between nodes meet no other rule of this table"
            to_nodes = f"-d {bridge.address.network} -m addrtype ! --dst-type LOCAL -j ACCEPT"
            yield _rule("raw", "CNET-ORIGIN-NODES", why, to_nodes)

    # --- iptables security: who may talk to whom ---

    def from_bridges(self) -> Iterator[str]:
        yield _rule("security", "CNET-FROM-BRIDGES", "cnet: the policy judges first", "-j CNET-FROM-NODES")
        for bridge in self.bridges:
            why = f"cnet: {bridge}: allowed packets between nodes meet no other rule of this table"
            yield _rule("security", "CNET-FROM-BRIDGES", why, f"-o {bridge} -j ACCEPT")

    def from_nodes(self, memory: str) -> Iterator[str]:
        chain = "CNET-FROM-NODES"
        yield _rule("security", chain, f"cnet: before up: {memory}", "")
        for comment in in_force(self.policy):
            yield _rule("security", chain, comment, "")
        yield from self.ping_sizes(chain)
        yield from self.known_connections(chain)
        for node in self.topology.nodes:
            yield _rule(
                "security", chain, f"cnet: to {node.name}", f"-d {node.address.ip}/32 -g {_chain_to(node)}"
            )
        for bridge in self.bridges:
            why = _why(DEFAULT, f"on {bridge} there is nobody else")
            yield _rule("security", chain, why, f"-o {bridge} {self.drop(DEFAULT)}")
        yield _rule("security", chain, "cnet: to the world", "-g CNET-TO-WORLD")
        for node in self.topology.nodes:
            yield from self.lines(_chain_to(node), node.name)
        yield from self.lines("CNET-TO-WORLD", WORLD)

    def to_host(self) -> Iterator[str]:
        yield from self.ping_sizes("CNET-TO-HOST")
        yield from self.known_connections("CNET-TO-HOST")
        yield from self.lines("CNET-TO-HOST", HOST)

    def from_world(self) -> Iterator[str]:
        chain = "CNET-FROM-WORLD"
        for bridge in self.bridges:
            why = f"cnet: {bridge}: CNET-FROM-NODES has judged it"
            yield _rule("security", chain, why, f"-i {bridge} -j RETURN")
        # Who may not ping the world gets no answer from it, and a ping from there is never allowed.
        if self.policy.some_node_may(WORLD, "icmp"):
            yield from self.ping_sizes(chain)
        yield from self.known_connections(chain)
        direct = f"-m conntrack ! --ctstate DNAT {self.drop(DIRECT)}"
        yield _rule("security", chain, _built_in(DIRECT), direct)
        yield from self.lines_from(chain, WORLD)

    def from_host(self) -> Iterator[str]:
        first = next((line for line in self.policy.lines if HOST in line.sources), None)
        everything = first is not None and first.verdict == ACCEPT and self.is_everything(first)
        yield from self.ping_sizes("CNET-FROM-HOST")
        # What the host says of a packet that it was to masquerade, conntrack cannot place: it is INVALID.
        why = _why("answers", "what the host tells of a node's packet: path MTU discovery lives by it")
        yield _rule("security", "CNET-FROM-HOST", why, "-p icmp -m icmp --icmp-type 3 -j RETURN")
        yield from self.known_connections("CNET-FROM-HOST", answers=not everything)
        yield from self.lines_from("CNET-FROM-HOST", HOST)

    def is_everything(self, line: Line) -> bool:
        nodes = {node.name for node in self.topology.nodes}
        return line.any_protocol and line.rate is None and nodes <= line.destinations

    def ping_sizes(self, chain: str) -> Iterator[str]:
        for kind in (8, 0):
            size = (
                f"-p icmp -m icmp --icmp-type {kind} -m length --length {PING_BYTES + 1}:{LARGEST_IP_PACKET}"
            )
            yield _rule("security", chain, _built_in(ICMP_SIZE), f"{size} {self.drop(ICMP_SIZE)}")

    def known_connections(self, chain: str, *, answers: bool = True) -> Iterator[str]:
        state = "-m conntrack --ctstate"
        if answers:
            yield _rule("security", chain, _built_in("answers"), f"{state} RELATED,ESTABLISHED -j RETURN")
        yield _rule("security", chain, _built_in(INVALID), f"{state} INVALID {self.drop(INVALID)}")

    def lines(self, chain: str, destination: str) -> Iterator[str]:
        """Judge what nodes send to one destination."""
        target = self.topology.node(destination)
        # What stays in a namespace is never seen, but for a published port asked for by the host's address.
        namespace = target.namespace if target and not target.publishes else None
        undecided = {node.name for node in self.topology.nodes if node.namespace != namespace}
        of_destination = [line for line in self.policy.lines if destination in line.destinations]
        yield from self.lines_for(chain, "-s", [(line, line.sources) for line in of_destination], undecided)

    def lines_from(self, chain: str, source: str) -> Iterator[str]:
        """Judge what host or world send to nodes."""
        undecided = {node.name for node in self.topology.nodes}
        of_source = [line for line in self.policy.lines if source in line.sources]
        yield from self.lines_for(chain, "-d", [(line, line.destinations) for line in of_source], undecided)

    def lines_for(
        self, chain: str, flag: str, lines: Sequence[tuple[Line, Set[str]]], undecided: set[str]
    ) -> Iterator[str]:
        """Give the rules of lines, each with its places; no rule asks what is certain already."""
        accept = ALLOWED if self.policy.limits and flag == "-s" else RETURN
        for line, places in lines:
            spoken_of = places & undecided
            if spoken_of:
                yield from self.line(chain, line, _one_of(flag, self.topology, spoken_of, undecided), accept)
            if line.any_protocol and line.rate is None:
                undecided = undecided - spoken_of
        yield _rule("security", chain, _built_in(DEFAULT), self.drop(DEFAULT))

    def line(self, chain: str, line: Line, places: Iterable[str], accept: str) -> Iterator[str]:
        why = _why(line.id, line.reason)
        for place in places:
            for match in _matches(line):
                flow = " ".join(filter(None, (place, match)))
                if line.verdict != ACCEPT:
                    yield _rule("security", chain, why, f"{flow} {self.drop(line.id)}")
                elif line.rate is None:
                    yield _rule("security", chain, why, f"{flow} {accept}")
                else:
                    yield _rule("security", chain, why, f"{flow} {_within(line.id, line.rate)} {accept}")
                    yield _rule(
                        "security", chain, _why(line.id, "over its rate"), f"{flow} {self.drop(line.id)}"
                    )

    def limits(self) -> Iterator[str]:
        """Count what was allowed, so that a node cannot fill the table in which the host tracks connections.

        A connection that is closed (TIME_WAIT) is not counted; what is dropped never becomes one.
        """
        nodes = {node.name for node in self.topology.nodes}
        for limit in self.policy.limits:
            for place in _one_of("-s", self.topology, limit.sources, nodes):
                over = f"-m connlimit --connlimit-above {limit.most} --connlimit-mask 32 --connlimit-saddr"
                rule = " ".join(filter(None, (place, over, self.drop(limit.id))))
                yield _rule("security", "CNET-ALLOWED", _why(limit.id, limit.reason), rule)

    def hooks(self) -> Iterator[str]:
        yield "ebtables nat -A PREROUTING -j CNET-FRAMES"
        for bridge in self.topology.bridges:
            name, network = bridge.name, bridge.address.network
            yield _rule(
                "raw",
                "PREROUTING",
                f"cnet: {name}: its addresses from elsewhere",
                f"-s {network} ! -i {name} -j CNET-ORIGIN",
            )
            yield _rule(
                "security", "FORWARD", f"cnet: {name}: what nodes send", f"-i {name} -j CNET-FROM-BRIDGES"
            )
            yield _rule(
                "raw",
                "PREROUTING",
                f"cnet: {name}: its addresses from its nodes",
                f"-s {network} -i {name} -j CNET-ORIGIN-NODES",
            )
            yield _rule(
                "security",
                "INPUT",
                f"cnet: {name}: what nodes send to the host",
                f"-i {name} -j CNET-TO-HOST",
            )
            yield _rule(
                "security",
                "OUTPUT",
                f"cnet: {name}: what the host sends",
                f"-d {network} -m addrtype ! --dst-type LOCAL -j CNET-FROM-HOST",
            )
        # Each is put before those above, so that what goes from bridge to bridge passes both.
        for name in self.bridges:
            why = f"cnet: {name}: what comes from outside"
            yield _rule("security", "FORWARD", why, f"-o {name} -j CNET-FROM-WORLD")

    # --- what drops ---

    def drops(self) -> Iterator[str]:
        for place, ids in self.dropping.items():
            for policy_id in sorted(ids):
                rules = self.frame_drops if place.startswith("ebtables") else self.packet_drops
                yield from rules(place, policy_id)

    def frame_drops(self, place: str, policy_id: str) -> Iterator[str]:
        begin, prefix = f"{place} -A {drop_chain(policy_id)}", _prefix(policy_id)
        yield f"{begin} {FRAME_LOG} --log-prefix {prefix} -j CONTINUE"
        for group in (NFLOG_GROUP, PROOF_GROUP):
            nflog = f"--nflog-group {group} --nflog-prefix {prefix} --nflog-range {NFLOG_BYTES}"
            yield f"{begin} {nflog} -j CONTINUE"
        yield f"{begin} -j DROP"

    def packet_drops(self, place: str, policy_id: str) -> Iterator[str]:
        table, chain, prefix = place.split()[1], drop_chain(policy_id), _prefix(policy_id)
        why = _why(policy_id, "in the kernel's log, but it is not flooded")
        yield _rule(table, chain, why, f"{LOG_LIMIT} -j LOG --log-prefix {prefix}")
        for group, reader in ((NFLOG_GROUP, "for whoever watches"), (PROOF_GROUP, "for the proof")):
            nflog = f"-j NFLOG --nflog-group {group} --nflog-prefix {prefix} --nflog-size {NFLOG_BYTES}"
            yield _rule(table, chain, _why(policy_id, reader), nflog)
        yield _rule(table, chain, _why(policy_id, self.policy.reason_of(policy_id)), "-j DROP")


def _prefix(policy_id: str) -> str:
    return f'"{LOG_PREFIX}{policy_id} "'


def _rule(table: str, chain: str, comment: str, rule: str) -> str:
    return f'iptables {table} -A {chain} -m comment --comment "{comment}" {rule}'.rstrip()


def _why(policy_id: str, reason: str) -> str:
    return f"cnet: {policy_id}: {reason}"


def _built_in(policy_id: str) -> str:
    return _why(policy_id, BUILT_IN[policy_id])


def _chain_to(node: Node) -> str:
    return f"CNET-TO-{node.address.ip}"


def _one_of(flag: str, topology: Topology, wanted: Set[str], possible: Set[str]) -> list[str]:
    """Match one of these nodes among those it can be: nothing for all, a network for all of a bridge's."""
    if wanted >= possible:
        return [""]
    matches = []
    for bridge in topology.bridges:
        of_bridge = {node.name for node in topology.nodes if node.bridge == bridge.name} & possible
        if of_bridge and of_bridge <= wanted:
            matches.append(f"{flag} {bridge.address.network}")
            wanted = wanted - of_bridge
    return matches + [f"{flag} {node.address.ip}/32" for node in topology.nodes if node.name in wanted]


def _matches(line: Line) -> Iterator[str]:
    """Match protocol and port."""
    if line.any_protocol:
        yield ""
    for protocol in line.protocols:
        if protocol in WITH_PORTS:
            yield from (f"-p {protocol} {ports}".rstrip() for ports in _port_matches(protocol, line.ports))
        elif protocol == "icmp":
            yield "-p icmp -m icmp --icmp-type 8"


def _port_matches(protocol: str, ports: Sequence[tuple[int, int]]) -> Iterator[str]:
    if not ports:
        yield ""
    elif len(ports) == 1:
        yield f"-m {protocol} --dport {_range(ports[0])}"
    else:
        at_once = MOST_PORTS // 2
        for at in range(0, len(ports), at_once):
            yield f"-m multiport --dports {','.join(map(_range, ports[at : at + at_once]))}"


def _range(ports: tuple[int, int]) -> str:
    first, last = ports
    return str(first) if first == last else f"{first}:{last}"


def _within(policy_id: str, rate: Rate) -> str:
    limit = f"--hashlimit-upto {rate.count}/{rate.unit} --hashlimit-burst {rate.burst}"
    # The kernel knows a table by its name alone: another rate under the same name would be the old one.
    name = f"cnet-{policy_id}-{rate.count}-{rate.unit}-{rate.burst}"
    return f"-m hashlimit {limit} --hashlimit-mode srcip --hashlimit-name {name}"
