"""Facts about the network: each kind has a description, and the commands that make it true or remove it.

`up` runs the commands for the difference between the facts of the table and those of the kernel; `status` prints the
difference. A new attribute is one kind here, one line in wanted_facts() and one where live.py reads it.

In descriptions and commands: {place} namespace, {link} interface, {peer} other end, {bridge}, {value}; {ip} is `ip`, or
`ip -n NAMESPACE` for a fact inside one ({tc} likewise); {where} is "of the host" or "in namespace NAMESPACE".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from functools import reduce
from ipaddress import IPv4Address, IPv6Address, IPv6Interface
from operator import xor
from typing import NamedTuple

from lab.topology import LINK_GROUP, Bridge, Node, Topology

HOST = ""  # place of facts outside the nodes' namespaces
KERNEL_MTU = 1500  # default MTU if the table gives none
HAS_IPV6 = os.path.isdir("/proc/sys/net/ipv6/conf")

# Frames to 01:80:c2:00:00:0x enter by the port itself, not by the bridge, so no rule for the bridge matches them: the
# host must not answer ARP or accept IP on the port.
PORT_SYSCTLS = (
    "net/ipv4/conf/{link}/arp_ignore=8",
    "net/ipv4/conf/{link}/drop_unicast_in_l2_multicast=1",
    *(["net/ipv6/conf/{link}/disable_ipv6=1"] if HAS_IPV6 else []),
)

# An interface has only the addresses of the table. The kernel would announce each automatic IPv6 address to every port
# of the bridge (with 500 nodes that is half of the time). A kernel without IPv6 rejects the option.
_NO_IPV6 = " addrgenmode none" if HAS_IPV6 else ""
_SET_NO_IPV6 = (f"{{ip}} link set dev {{link}}{_NO_IPV6}",) if HAS_IPV6 else ()


# Options of `ip addr add` by IP version. IPv6 has no broadcast. Duplicate address detection takes a second or two, and
# the table's addresses are unique.
_OPTIONS = {4: "brd +", 6: "nodad"}


# The host takes no address and no default route that a node announces (router advertisements, RFC 4861).
BRIDGE_SYSCTLS = ("net/ipv6/conf/{link}/accept_ra=0",) if HAS_IPV6 else ()


class Kind(NamedTuple):
    """The description and commands of a kind of fact. A kind that the table never wants has only `remove`."""

    words: str
    make: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    label: str = "surplus"  # status prints this for a fact that is not wanted


class Fact(NamedTuple):
    """One property of the host or of a namespace, live or wanted."""

    kind: Kind
    place: str = HOST
    link: str = ""
    peer: str = ""
    bridge: str = ""
    value: str = ""
    detail: str = ""  # a word for the commands alone, which difference() ignores

    def format(self, template: str) -> str:
        """Fill in a template of the kind."""
        return template.format(
            ip=f"ip -n {self.place}" if self.place else "ip",
            tc=f"tc -n {self.place}" if self.place else "tc",
            where=f"in namespace {self.place}" if self.place else "of the host",
            **self._asdict(),
        )

    def __str__(self) -> str:
        return self.format(self.kind.words)


BRIDGE = Kind(
    "bridge {link}, MAC {value}",
    make=(
        f"ip link add name {{link}} group {LINK_GROUP} address {{value}} type bridge",
        *_SET_NO_IPV6,
    ),
    remove=("ip link del dev {link}",),
)
TABLE = Kind("{value} as the table of bridge {link}", make=('ip link set dev {link} alias "cnet {value}"',))
ALIAS = Kind('alias "{value}" of bridge {link}')  # the table of another `up` replaces the alias
NO_LINKLOCAL_LEARNING = Kind(
    "{link} learns nothing from link-local frames and IGMP",
    make=("ip link set dev {link} type bridge no_linklocal_learn 1 mcast_snooping 0",),
)
NO_ADVERTISEMENTS = Kind(
    "the host ignores router advertisements on {link}", make=(f"sysctl -qw {' '.join(BRIDGE_SYSCTLS)}",)
)
FILTERED = Kind(
    "{link} passes its frames to iptables",
    make=("ip link set dev {link} type bridge nf_call_iptables 1 nf_call_ip6tables 1 nf_call_arptables 1",),
    remove=("ip link set dev {link} type bridge nf_call_iptables 0 nf_call_ip6tables 0 nf_call_arptables 0",),
)
BRIDGE_ADDRESS = Kind(
    "address {value} on bridge {link}",
    make=("ip addr add {value} {detail} dev {link}",),
    remove=("ip addr del {value} dev {link}",),
)
# Without a link-local address the kernel sends no neighbour solicitation for a packet that it forwards (ndisc_send_ns).
ROUTER6 = IPv6Interface("fe80::1/64")
UP = Kind("{link} is up", make=("ip link set dev {link} up",))
UP_INSIDE = Kind("{link} is up in namespace {place}", make=("{ip} link set dev {link} up",))

NAMESPACE = Kind("namespace {place}", make=("ip netns add {place}",), remove=("ip netns del {place}",))
# The alias of its loopback identifies a namespace of the lab even if its veth pair was deleted.
MARK = Kind(
    'alias "cnet {place}", the lab\'s mark, on lo in namespace {place}',
    make=('{ip} link set dev lo up alias "cnet {place}"',),
)
VETH = Kind(
    "veth pair {peer} (host) = {link} (namespace {place}), MAC {value}",
    make=(
        f"ip link add name {{peer}} group {LINK_GROUP} type veth peer name {{link}} address {{value}} netns {{place}}",
    ),
    remove=("ip link del dev {peer}",),
)
# A port's alias is the name of the namespace at its other end: it identifies the lab's namespaces for any table.
PORT = Kind(
    "{link} is a port of bridge {bridge}",
    make=(f'ip link set dev {{link}}{_NO_IPV6} master {{bridge}} alias "cnet {{detail}}"',),
)
CLOSED_PORT = Kind(
    "the host accepts no packet from port {link} itself", make=(f"sysctl -qw {' '.join(PORT_SYSCTLS)}",)
)
NO_LEARNING = Kind(
    "{link} learns no MAC, gets no frame for an unknown MAC",
    make=("ip link set dev {link} type bridge_slave learning off flood off fdb_flush",),
)
# Sticky: otherwise the entry moves to another port that learns the MAC.
FORWARD = Kind(
    "{bridge} forwards frames for {value} to {link}",
    make=("bridge fdb replace {value} dev {link} master static sticky",),
    remove=("bridge fdb del {value} dev {link} master",),
)
HAIRPIN = Kind(
    "{link} may send a frame back to its sender (hairpin)",
    make=("ip link set dev {link} type bridge_slave hairpin on",),
    remove=("ip link set dev {link} type bridge_slave hairpin off",),
)
ADDRESS = Kind(
    "address {value} on {link} in namespace {place}",
    make=(*_SET_NO_IPV6, "{ip} addr add {value} {detail} dev {link}"),
    remove=("{ip} addr del {value} dev {link}",),
)
ROUTE = Kind(
    "default route {value} in namespace {place}",
    make=("{ip} route add default {value}",),
    remove=("{ip} route del default {value}",),
)

# Never wanted: manual changes, and leftovers of a killed run.
STALE = Kind("/run/netns/{place} is a file, not a namespace", remove=("ip netns del {place}",))
OWN_ROUTE = Kind(
    "route that is not in the table, in namespace {place}: {value}", remove=("{ip} route del {value}",)
)
OWN_RULE = Kind(
    "rule that is not in the table, in namespace {place}: {value}", remove=("{ip} rule del {value}",)
)
NO_RULE = Kind(
    "routing rule {value} (table {peer}) in namespace {place}",
    remove=("{ip} rule add priority {value} table {peer}",),
    label="missing",
)
UNCONNECTED = Kind(  # adding the address again restores the routes
    "{link} {where} has an address {value} without its routes", remove=("{ip} addr del {value} dev {link}",)
)
ISOLATED = Kind(
    "{link} is isolated from the other ports of its bridge",
    remove=("ip link set dev {link} type bridge_slave isolated off",),
)
NO_BROADCAST = Kind(
    "{link} gets no broadcast frame (ARP) from its bridge",
    remove=("ip link set dev {link} type bridge_slave bcast_flood on",),
)
NOT_FORWARDING = Kind(
    "{link} is switched off as a port of its bridge (state {value})",
    remove=("ip link set dev {link} type bridge_slave state 3",),  # BR_STATE_FORWARDING
)
NEIGHBOUR = Kind(
    "permanent neighbour on {link} {where}: {value} at {peer}", remove=("{ip} neigh del {value} dev {link}",)
)
# Of a link, if it is not the kernel's default.
MTU = Kind(
    "MTU {value} on {link} {where}",
    make=("{ip} link set dev {link} mtu {value}",),
    remove=(f"{{ip}} link set dev {{link}} mtu {KERNEL_MTU}",),
)
NO_ARP = Kind("{link} {where} has ARP switched off", remove=("{ip} link set dev {link} arp on",))
QDISC = Kind("qdisc {peer} on {link} {where} ({value})", remove=("{tc} qdisc del dev {link} {detail}",))
CHAIN = Kind(
    "firewall rules in namespace {place}: {value}",
    remove=("nsenter --net=/run/netns/{place} -- nft flush ruleset",),
)
LEGACY_TABLE = Kind(
    "firewall rules in namespace {place}: legacy {value}",
    remove=("nsenter --net=/run/netns/{place} -- iptables-legacy -t {value} -F",),
)


def mac_of(address: IPv4Address | IPv6Address) -> str:
    """Return the MAC of an interface with this address (02: locally administered).

    It ends in the 4 bytes of an IPv4 address, or in the exclusive or of the four 4-byte words of an IPv6 address. A
    node keeps its MAC when it is made again, so neighbour caches stay valid. A bridge with a fixed MAC does not change
    it when a port is added.
    """
    words = struct.unpack(f"!{len(address.packed) // 4}I", address.packed)
    folded: int = reduce(xor, words)
    return "02:42:" + folded.to_bytes(4, "big").hex(":")


def wanted_facts(topology: Topology, is_filtered: bool) -> list[Fact]:
    """Return the wanted facts, in the order in which they are made; is_filtered: a policy is in force."""
    return [
        *(fact for bridge in topology.bridges for fact in _bridge_facts(topology, bridge, is_filtered)),
        *(fact for node in topology.nodes for fact in _node_facts(topology, node)),
    ]


def _bridge_facts(topology: Topology, bridge: Bridge, is_filtered: bool) -> Iterator[Fact]:
    name = bridge.name
    yield Fact(BRIDGE, link=name, value=mac_of(bridge.address.ip))
    yield Fact(NO_LINKLOCAL_LEARNING, link=name)
    if BRIDGE_SYSCTLS:
        yield Fact(NO_ADVERTISEMENTS, link=name)
    if is_filtered:
        yield Fact(FILTERED, link=name)
    yield Fact(TABLE, link=name, value=str(topology.path))
    for own in bridge.addresses:
        yield Fact(BRIDGE_ADDRESS, link=name, value=str(own), detail=_OPTIONS[own.version])
    if bridge.address6:
        yield Fact(BRIDGE_ADDRESS, link=name, value=str(ROUTER6), detail=_OPTIONS[6])
    yield Fact(UP, link=name)
    # The kernel gives a bridge the smallest MTU of its ports unless its MTU was set.
    mtu = min((node.mtu or KERNEL_MTU for node in topology.nodes if node.bridge == name), default=KERNEL_MTU)
    if mtu != KERNEL_MTU:
        yield Fact(MTU, link=name, value=str(mtu))


def _node_facts(topology: Topology, node: Node) -> Iterator[Fact]:
    """Yield the facts of a node; nodes that share a namespace are further addresses on the first one's wire."""
    place, interface, port, bridge = node.namespace, node.interface, node.bridge_interface, node.bridge
    own = [
        Fact(ADDRESS, place, interface, value=str(address), detail=_OPTIONS[address.version])
        for address in node.addresses
    ]
    if topology.node_of_wire(node) is not node:
        yield from own
        return
    mac = mac_of(node.address.ip)
    yield Fact(NAMESPACE, place)
    yield Fact(VETH, place, interface, peer=port, value=mac)
    if node.mtu not in (None, KERNEL_MTU):
        yield Fact(MTU, HOST, port, value=str(node.mtu))
        yield Fact(MTU, place, interface, value=str(node.mtu))
    yield Fact(PORT, link=port, bridge=bridge, detail=place)
    yield Fact(CLOSED_PORT, link=port)
    yield Fact(NO_LEARNING, link=port, bridge=bridge)
    yield Fact(FORWARD, link=port, bridge=bridge, value=mac)
    if topology.publishes_in(place):
        yield Fact(HAIRPIN, link=port)
    yield Fact(UP, link=port)
    yield Fact(MARK, place)
    yield Fact(UP_INSIDE, place, "lo")
    yield from own
    yield Fact(UP_INSIDE, place, interface)
    for router in topology.bridge_of(node).addresses:
        if router.version in {address.version for address in node.addresses}:
            yield Fact(ROUTE, place, value=f"via {router.ip}")
