"""Findings in addresses and neighbours: missing, duplicate, another prefix length, a permanent ARP entry."""

from __future__ import annotations

from collections.abc import Iterator

from lab.network import facts as kinds
from lab.network.facts import Fact, mac_of
from lab.network.inside import cidrs
from lab.network.plan import Difference
from lab.topology import Bridge, Node
from security.diagnose.differences import (
    Condition,
    Differences,
    Meaning,
    about,
    explain,
    in_place,
    of_family,
    without_ipv6,
)
from security.diagnose.finding import Finding, Kind
from security.diagnose.observed import Observed

_PREFIX = Meaning(
    kind=Kind.ADDRESS_MISSING,
    object="{value}",
    cause="{link} in namespace {place} has {live}: the prefix length is {length}, not {wanted}",
    breaks="{nodes}: the kernel takes addresses behind the gateway for neighbours, or neighbours for remote addresses",
    command="{ip} -br addr show dev {link}",
    line="{link}",
)
_REPLACED = Meaning(
    kind=Kind.ADDRESS_MISSING,
    object="{value}",
    cause="{link} in namespace {place} has {live} in place of {value}",
    breaks="{owner}: no answer to {question}s for its address, so no packet arrives; what it sends gets no answer",
    command="{ip} -br addr show dev {link}",
    line="{link}",
)
_MISSING = Meaning(
    kind=Kind.ADDRESS_MISSING,
    object="{value}",
    cause="{link} in namespace {place} does not have the address {value}",
    breaks="{owner}: no answer to {question}s for its address, so no packet arrives",
    command="{ip} -br addr show dev {link}",
    line="{link}",
)
_DUPLICATE = Meaning(
    kind=Kind.ADDRESS_DUPLICATE,
    object="{address}",
    cause="{link} {at} also has {value}, the address of {owner}",
    breaks="packets from there to {owner} are delivered locally; {a_question} for it may be answered by either",
    command="{ip} -o {family} addr show to {address}",
    line="{address}",
)
_SURPLUS = Meaning(
    kind=Kind.ADDRESS_SURPLUS,
    object="{value}",
    cause="{link} in namespace {place} has an address that is not in the table: {value}",
    breaks="{nodes}: the kernel may send packets with this source address, which the policy drops",
    command="{ip} -o {family} addr show dev {link}",
    line="{value}",
)
_NEIGHBOUR = Meaning(
    kind=Kind.NEIGHBOUR,
    object="{value}",
    cause="{link} {at} has a permanent {cache} entry: {value} ({owner}) at {peer}; {owner} has {mac}",
    breaks="packets from there to {owner}: they go to another MAC, and the kernel sends no {question}",
    command="{ip} neigh show to {value} dev {link}",
    line="{value}",
)


def check_addresses(seen: Observed, left: Differences) -> Iterator[Finding]:
    """Yield what is wrong with addresses and neighbours."""
    for fact in left.take_missing(kinds.ADDRESS):
        yield without_ipv6(seen, fact, _missing(seen, left, fact))
    for fact in left.take_surplus(kinds.ADDRESS):
        yield _surplus(seen, fact)
    for fact in left.take_surplus(kinds.BRIDGE_ADDRESS, where=_belongs_to_another(seen)):
        yield _surplus(seen, fact)
    yield from _on_other_links(seen)
    for fact in left.take_surplus(kinds.NEIGHBOUR):
        owner = _owner(seen, fact.value)
        words = {
            "owner": owner.name if owner else fact.value,
            "mac": _mac(seen, owner) if owner else "another one",
        }
        yield explain(seen, _NEIGHBOUR, fact, Difference([], [fact]), **words)


def _missing(seen: Observed, left: Differences, fact: Fact) -> Finding:
    """Explain a missing address, with the one that replaces it; the default route may have gone with it."""
    address, _, wanted = fact.value.partition("/")
    routes = left.take_missing(kinds.ROUTE, where=of_family(fact, in_place(fact.place)))
    owner = seen.topology.node_at(address)
    words = {"owner": owner.name if owner else address, "wanted": wanted}
    here = of_family(fact, about((fact.place, fact.link)))
    if live := left.take_surplus(kinds.ADDRESS, where=_has_ip(address, here)):
        words |= {"live": live[0].value, "length": live[0].value.partition("/")[2]}
        return explain(seen, _PREFIX, fact, Difference([fact, *routes], live), **words)
    others = [
        one for one in left.surplus if here(one) and one.kind is kinds.ADDRESS and not _owner(seen, one.value)
    ]
    if others:
        live = left.take_surplus(kinds.ADDRESS, where=lambda one: one == others[0])
        return explain(seen, _REPLACED, fact, Difference([fact, *routes], live), live=live[0].value, **words)
    return explain(seen, _MISSING, fact, Difference([fact, *routes], []), **words)


def _has_ip(address: str, here: Condition) -> Condition:
    return lambda fact: here(fact) and fact.value.partition("/")[0] == address


def _belongs_to_another(seen: Observed) -> Condition:
    """Return the condition that an address of a bridge is one of a node or of another bridge."""

    def condition(fact: Fact) -> bool:
        owner = _owner(seen, fact.value)
        return owner is not None and owner.name != fact.link

    return condition


def _surplus(seen: Observed, fact: Fact) -> Finding:
    owner = _owner(seen, fact.value)
    of = Difference([], [fact])
    if owner is None or (isinstance(owner, Node) and owner.namespace == fact.place):
        return explain(seen, _SURPLUS, fact, of)
    return explain(seen, _DUPLICATE, fact, of, owner=owner.name, address=fact.value.partition("/")[0])


def _on_other_links(seen: Observed) -> Iterator[Finding]:
    """Yield each address of the lab that an interface of the host has which is not the lab's."""
    ours = {bridge.name for bridge in seen.topology.bridges}
    for link in seen.live.host.links:
        for cidr in cidrs(link) if link["ifname"] not in ours else ():
            if _owner(seen, cidr):
                yield _surplus(seen, Fact(kinds.BRIDGE_ADDRESS, link=link["ifname"], value=cidr))


def _owner(seen: Observed, cidr: str) -> Node | Bridge | None:
    """Return the node or bridge of the table that has an address, with or without its prefix length."""
    address = cidr.partition("/")[0]
    bridges = (
        bridge for bridge in seen.topology.bridges if address in {str(own.ip) for own in bridge.addresses}
    )
    return seen.topology.node_at(address) or next(bridges, None)


def _mac(seen: Observed, owner: Node | Bridge) -> str:
    wired = seen.topology.node_of_wire(owner) if isinstance(owner, Node) else owner
    return mac_of(wired.address.ip)
