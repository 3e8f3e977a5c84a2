"""Findings in links: missing, down, on another bridge, with another MAC or MTU, without ARP, limited by a qdisc."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from lab.network import facts as kinds
from lab.network.facts import HOST, KERNEL_MTU, Fact, mac_of
from lab.network.plan import Difference
from security.diagnose.differences import (
    NOTHING,
    Condition,
    Differences,
    Meaning,
    about,
    explain,
    in_place,
)
from security.diagnose.finding import Finding, Kind
from security.diagnose.observed import Observed

_LINK = "{ip} link show dev {link}"

_NAMESPACE = Meaning(
    kind=Kind.NAMESPACE_MISSING,
    object="{place}",
    cause="namespace {place} does not exist",
    breaks="{nodes}: their programs have no network",
    command="ip netns list",
    line="{place}",
)
_MISSING = Meaning(
    kind=Kind.LINK_MISSING,
    cause="{link} is not in namespace {place}; {elsewhere}",
    breaks="{nodes}: the namespace has no veth pair to its bridge, so nothing reaches it or leaves it",
    command="ip -n {place} -br link",
    line="{link}",
)
_MAC = Meaning(
    kind=Kind.WRONG_MAC,
    cause="{link} in namespace {place} has the MAC {live}, not {value}{owner}",
    breaks="{nodes}: its interface drops frames for {value}, and the bridge drops frames for {live}",
    command=_LINK,
    line="link/ether",
)
_DOWN = Meaning(
    kind=Kind.LINK_DOWN,
    cause="{link} is down {at}",
    breaks="{nodes}: no frame passes the veth pair in either direction",
    command=_LINK,
    line="{link}",
)
_LOOPBACK_DOWN = Meaning(
    kind=Kind.LINK_DOWN,
    cause="lo is down in namespace {place}",
    breaks="{nodes}: packets from the namespace to its own addresses, which pass lo",
    command=_LINK,
    line="{link}",
)
_BRIDGE_DOWN = Meaning(
    kind=Kind.LINK_DOWN,
    cause="bridge {link} is down",
    breaks="{nodes}: the bridge forwards no frame, and they do not reach their gateway",
    command=_LINK,
    line="{link}",
)
_BRIDGE_OF_PORT = Meaning(
    kind=Kind.WRONG_BRIDGE,
    cause="{link} is a port of {live}, not of bridge {bridge}",
    breaks="{nodes}: frames reach only the ports of the same bridge",
    command=_LINK,
    line="{link}",
)
_MTU = Meaning(
    kind=Kind.MTU,
    cause="{link} {at} has an MTU of {live}, not {wanted}",
    breaks="{nodes}: a packet that is longer than the smaller MTU of both ends is dropped; small ones pass",
    command=_LINK,
    line="mtu",
)
_QDISC = Meaning(
    kind=Kind.RATE_LIMIT,
    cause="{link} {at} has a qdisc {value}, which is not in the table",
    breaks="{direction} {nodes}: the qdisc delays or drops packets before the interface sends them",
    command="{tc} qdisc show dev {link}",
    line="qdisc {value}",
)
_ARP = Meaning(
    kind=Kind.ARP_OFF,
    cause="{link} {at} has ARP switched off (NOARP)",
    breaks="{nodes}: the interface sends no ARP request and answers none",
    command=_LINK,
    line="{link}",
)


def check_links(seen: Observed, left: Differences) -> Iterator[Finding]:
    """Yield what is wrong with links, and take the differences that follow from it."""
    yield from _namespaces(seen, left)
    yield from _veth_pairs(seen, left)
    yield from _down(seen, left)
    yield from _ports(seen, left)
    yield from _mtus(seen, left)
    for fact in left.take_surplus(kinds.QDISC):
        direction = "packets from" if fact.place else "packets to"
        yield explain(seen, _QDISC, fact, Difference([], [fact]), direction=direction)
    for fact in left.take_surplus(kinds.NO_ARP):
        left.take_surplus(
            kinds.NEIGHBOUR, where=about((fact.place, fact.link))
        )  # the kernel's, in the state NOARP
        yield explain(seen, _ARP, fact, Difference([], [fact]))


def _namespaces(seen: Observed, left: Differences) -> Iterator[Finding]:
    for fact in left.take_missing(kinds.NAMESPACE):
        left.take_missing(where=in_place(fact.place))
        node = seen.topology.node_in(fact.place)
        if node:
            left.take_missing(where=about((HOST, node.bridge_interface)))
        finding = explain(seen, _NAMESPACE, fact, NOTHING)
        yield replace(finding, place="host")


def _veth_pairs(seen: Observed, left: Differences) -> Iterator[Finding]:
    """Yield each veth pair of the table whose end in the namespace is missing or has another MAC."""
    for fact in left.take_missing(kinds.VETH):
        live = left.take_surplus(kinds.VETH, where=_is_veth_of(fact.peer))
        if any((one.place, one.link) == (fact.place, fact.link) for one in live):
            words = {"live": live[0].value, "owner": _owner_of_mac(seen, live[0].value)}
            command = f"sudo ip -n {fact.place} link set dev {fact.link} address {fact.value}"
            yield replace(explain(seen, _MAC, fact, NOTHING, **words), repair=(command,))
            continue
        left.take_surplus(where=about(*((one.place, one.link) for one in live)))
        left.take_missing(where=about((fact.place, fact.link), (HOST, fact.peer)))
        left.take_missing(kinds.ROUTE, where=in_place(fact.place))
        yield explain(seen, _MISSING, fact, NOTHING, elsewhere=_where_is(seen, fact.peer, live))


def _where_is(seen: Observed, port: str, live: list[Fact]) -> str:
    """Say what the host knows of a veth pair whose end is not in its namespace."""
    if live:
        return f"its end is {live[0].link} in namespace {live[0].place}"
    if any(link["ifname"] == port for link in seen.live.host.links):
        return f"{port} on the host is not in the lab's link group"
    return f"the host has no {port} either"


def _is_veth_of(name: str) -> Condition:
    """Return the condition that a fact is about the veth pair of this port."""
    return lambda fact: fact.peer == name


def _owner_of_mac(seen: Observed, mac: str) -> str:
    """Return whose MAC this is: of another node or of a bridge."""
    own = {mac_of(node.address.ip): node.name for node in seen.topology.nodes}
    own |= {mac_of(bridge.address.ip): bridge.name for bridge in seen.topology.bridges}
    return f", and {mac} is the MAC of {own[mac]}" if mac in own else ""


def _down(seen: Observed, left: Differences) -> Iterator[Finding]:
    """Yield each link that is down; the kernel removed the routes that used it."""
    for fact in left.take_missing(kinds.UP_INSIDE):
        if fact.link == "lo":
            yield explain(seen, _LOOPBACK_DOWN, fact, Difference([fact], []))
            continue
        routes = left.take_missing(kinds.ROUTE, where=in_place(fact.place))
        yield explain(seen, _DOWN, fact, Difference([fact, *routes], []))
    for fact in left.take_missing(kinds.UP):
        meaning = _BRIDGE_DOWN if seen.topology.bridge(fact.link) else _DOWN
        yield explain(seen, meaning, fact, Difference([fact], []))


def _ports(seen: Observed, left: Differences) -> Iterator[Finding]:
    """Yield each port of another bridge, or of none; the port loses its settings with its bridge."""
    of_port = (kinds.NO_LEARNING, kinds.FORWARD, kinds.HAIRPIN)
    for fact in left.take_missing(kinds.PORT):
        live = left.take_surplus(kinds.PORT, where=about((HOST, fact.link)))
        settings = left.take_missing(*of_port, where=about((HOST, fact.link)))
        words = {"live": f"bridge {live[0].bridge}" if live else "no bridge"}
        yield explain(seen, _BRIDGE_OF_PORT, fact, Difference([fact, *settings], []), **words)


def _mtus(seen: Observed, left: Differences) -> Iterator[Finding]:
    """Yield each interface with another MTU than the table's; the kernel gives a bridge the smallest of its ports."""
    missing, surplus = left.take_missing(kinds.MTU), left.take_surplus(kinds.MTU)
    wanted = {(fact.place, fact.link): fact for fact in missing}
    live = {(fact.place, fact.link): fact for fact in surplus}
    both = {"wanted": wanted, "live": live}
    of_ports = {live[end].value for end in live if not seen.topology.bridge(end[1])}
    for end in dict.fromkeys([*wanted, *live]):
        fact = live.get(end) or wanted[end]
        if seen.topology.bridge(fact.link) and fact.value in of_ports:
            continue
        of = Difference(_at(end, wanted), _at(end, live))
        values = {name: facts[end].value if end in facts else f"{KERNEL_MTU}" for name, facts in both.items()}
        yield explain(seen, _MTU, fact, of, **values)


def _at(end: tuple[str, str], facts: Mapping[tuple[str, str], Fact]) -> list[Fact]:
    return [facts[end]] if end in facts else []
