"""Findings in bridges: their address, MAC and settings, their forwarding entries, and the settings of their ports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from lab.network import facts as kinds
from lab.network.facts import HOST, Fact
from lab.network.plan import Difference
from security.diagnose.differences import (
    NOTHING,
    Condition,
    Differences,
    Meaning,
    about,
    explain,
    explain_all,
    nodes_at,
    of_family,
    without_ipv6,
)
from security.diagnose.finding import Evidence, Finding, Kind
from security.diagnose.observed import Observed

# Settings of a bridge, as ip(8) prints them.
_CALLS = ("nf_call_iptables", "nf_call_ip6tables", "nf_call_arptables")
_SHOWN = ("no_linklocal_learn", "mcast_snooping", *_CALLS)
_BRIDGE = "ip -d link show dev {link}"
_PORT = "bridge -d link show dev {link}"

_NO_BRIDGE = Meaning(
    kind=Kind.LINK_MISSING,
    cause="the host has no bridge {link}",
    breaks="{nodes}: nothing connects their veth pairs, and they have no gateway",
    command="ip -br link show type bridge",
    line="{link}",
)
_MAC = Meaning(
    kind=Kind.WRONG_MAC,
    cause="bridge {link} has the MAC {live}, not {value}",
    breaks="{nodes}: frames to their gateway, until ARP has asked for its new MAC",
    command=_BRIDGE,
    line="link/ether",
)
_ADDRESS = Meaning(
    kind=Kind.ADDRESS_MISSING,
    object="{value}",
    cause="bridge {link} does not have the address {value}{live}",
    breaks="{nodes}: {role}",
    command="ip -br addr show dev {link}",
    line="{link}",
)
_GATEWAY_ROLE = "the address is their gateway; the host has no route to them, and no customer reaches them"
_LINK_LOCAL_ROLE = (
    "the host forwards no IPv6 packet to them, because it has no address to ask for their MAC from"
)
_ADDRESS_SURPLUS = Meaning(
    kind=Kind.ADDRESS_SURPLUS,
    object="{value}",
    cause="bridge {link} has an address that is not in the table: {value}",
    breaks="packets to that address, which the host now accepts itself; it may also send with this source address",
    command="ip -o -4 addr show dev {link}",
    line="{value}",
)
_FILTERED = Meaning(
    kind=Kind.BRIDGE_SETTING,
    cause="{link} does not pass its packets to the packet filter: {off}",
    breaks="the policy: packets between ports of {link} skip its rules, so all are allowed",
    command=_BRIDGE,
    line="nf_call_iptables",
)
_LINK_LOCAL = Meaning(
    kind=Kind.BRIDGE_SETTING,
    cause="{link} learns from link-local frames or from IGMP (no_linklocal_learn 0, or mcast_snooping 1)",
    breaks="the fixed forwarding table: a node can make {link} send it frames of another node",
    command=_BRIDGE,
    line="no_linklocal_learn",
)
_ADVERTISED = Meaning(
    kind=Kind.BRIDGE_SETTING,
    cause="the host accepts router advertisements on {link} (accept_ra)",
    breaks="the routes of the host: a node can announce itself as its default router for IPv6",
    command="sysctl net.ipv6.conf.{link}.accept_ra",
    line="accept_ra",
)
OF_BRIDGES = {kinds.NO_LINKLOCAL_LEARNING: _LINK_LOCAL}

_LEARNING = Meaning(
    kind=Kind.PORT_SETTING,
    cause="{link} learns MACs, or gets frames for a MAC that the bridge does not know (learning or flood is on)",
    breaks="the fixed forwarding table: {nodes} may get frames of other nodes",
    command=_PORT,
    line="learning",
)
_NO_HAIRPIN = Meaning(
    kind=Kind.PORT_SETTING,
    cause="{link} sends no frame back by the port by which it came (hairpin off)",
    breaks="{nodes}: the published port, for a program in the same namespace, which gets no answer",
    command=_PORT,
    line="hairpin",
)
MISSING = {kinds.NO_LEARNING: _LEARNING, kinds.HAIRPIN: _NO_HAIRPIN}

_HAIRPIN = replace(
    _NO_HAIRPIN,
    cause="{link} sends frames back by the port by which they came (hairpin on), although no node needs it",
    breaks="{nodes}: gets its own broadcasts back",
)
_BROADCAST = Meaning(
    kind=Kind.PORT_SETTING,
    cause="{link} gets no broadcast frame from its bridge (bcast_flood off)",
    breaks="{nodes}: no ARP request arrives, so other nodes learn its MAC only from its own ARP requests",
    command=_PORT,
    line="bcast_flood",
)
_STATE = Meaning(
    kind=Kind.PORT_SETTING,
    cause="{link} is in the state {value}: the bridge forwards no frame from it or to it",
    breaks="{nodes}: nothing passes, although the veth pair is up at both ends",
    command=_PORT,
    line="state",
)
SURPLUS = {kinds.HAIRPIN: _HAIRPIN, kinds.NO_BROADCAST: _BROADCAST, kinds.NOT_FORWARDING: _STATE}

_ISOLATED = Meaning(
    kind=Kind.PORT_SETTING,
    cause="{isolated} isolated: the bridge forwards no frame from one isolated port to another",
    breaks="{apart}",
    command=_PORT,
    line="isolated",
)
_CLOSED = Meaning(
    kind=Kind.PORT_SETTING,
    cause="the host itself accepts packets from port {link}: {differing}",
    breaks="the policy: frames of {nodes} to a link-local MAC skip the bridge, and the host takes their packets",
    command="sysctl {key}",
    line="{key}",
)
_NO_ENTRY = Meaning(
    kind=Kind.FORWARDING_ENTRY,
    cause="{bridge} has no forwarding entry for {value}, the MAC behind {link}",
    breaks="{nodes}: the ports learn no MAC and flood no frame, so {bridge} drops each frame to it",
    command="bridge fdb show br {bridge}",
    line="{value}",
)
_MOVED = replace(
    _NO_ENTRY,
    cause="{bridge} forwards frames for {value} to {live}; that MAC is behind {link}",
    breaks="{nodes}: the frames go to {live}, whose interface drops a frame for another MAC",
)
_ENTRY = replace(
    _NO_ENTRY,
    cause="{bridge} has a forwarding entry that is not in the table: {value} at {link}",
    breaks="frames for {value}, which go to {link}",
)


def check_bridges(seen: Observed, left: Differences) -> Iterator[Finding]:
    """Yield each bridge that is missing or has another MAC; before the links, which are gone with a bridge."""
    names = {link["ifname"] for link in seen.live.host.links}
    for fact in left.take_missing(kinds.BRIDGE):
        live = left.take_surplus(kinds.BRIDGE, where=about((HOST, fact.link)))
        if live:
            command = f"sudo ip link set dev {fact.link} address {fact.value}"
            yield replace(explain(seen, _MAC, fact, NOTHING, live=live[0].value), repair=(command,))
        elif fact.link not in names:
            followers = left.take_missing(where=_is_on(fact.link))
            ports = {(HOST, one.link) for one in followers if one.kind is kinds.PORT}
            elsewhere = left.take_surplus(kinds.PORT, where=about(*ports))
            yield explain(seen, _NO_BRIDGE, fact, Difference([fact, *followers], elsewhere))


def _is_on(bridge: str) -> Condition:
    return lambda fact: bridge in (fact.link, fact.bridge)


def check_ports(seen: Observed, left: Differences) -> Iterator[Finding]:
    """Yield what is wrong with settings of bridges and ports; after links and addresses, which take theirs."""
    yield from _addresses(seen, left)
    for found in (*_unfiltered(seen, left), *explain_all(seen, left, OF_BRIDGES, missing=True)):
        yield replace(found, evidence=tuple(map(_shortened, found.evidence)))
    yield from _entries(seen, left)
    yield from _isolated(seen, left)
    yield from _open_to_host(seen, left)
    yield from _open_to_advertisements(seen, left)
    yield from explain_all(seen, left, MISSING, missing=True)
    yield from explain_all(seen, left, SURPLUS, missing=False)


def _unfiltered(seen: Observed, left: Differences) -> Iterator[Finding]:
    """Yield each bridge that passes some frames by iptables, ip6tables or arptables."""
    for fact in left.take_missing(kinds.FILTERED):
        link = next((one for one in seen.live.host.links if one["ifname"] == fact.link), {})
        settings = link.get("linkinfo", {}).get("info_data", {})
        off = [f"{name} is 0" for name in _CALLS if not settings.get(name)]
        yield explain(seen, _FILTERED, fact, Difference([fact], []), off=", ".join(off))


def _shortened(evidence: Evidence) -> Evidence:
    """Keep only the settings that matter here of the line in which ip(8) prints all those of a bridge."""
    words = evidence.line.split()
    shown = [f"{word} {words[at + 1]}" for at, word in enumerate(words[:-1]) if word in _SHOWN]
    return replace(evidence, line=f"... {' '.join(shown)} ..." if shown else evidence.line)


def _addresses(seen: Observed, left: Differences) -> Iterator[Finding]:
    """Yield each bridge without its address; one with another address or prefix length is one finding."""
    for fact in left.take_missing(kinds.BRIDGE_ADDRESS):
        here = of_family(fact, about((HOST, fact.link)))
        live = left.take_surplus(kinds.BRIDGE_ADDRESS, where=here)
        # Without the address, its routes are missing too.
        is_link_local = fact.value == str(kinds.ROUTER6)
        words = {
            "live": f", but {', '.join(one.value for one in live)}" if live else "",
            "role": _LINK_LOCAL_ROLE if is_link_local else _GATEWAY_ROLE,
        }
        found = explain(seen, _ADDRESS, fact, Difference([fact], live), **words)
        yield without_ipv6(seen, fact, found)
    yield from explain_all(seen, left, {kinds.BRIDGE_ADDRESS: _ADDRESS_SURPLUS}, missing=False)


def _entries(seen: Observed, left: Differences) -> Iterator[Finding]:
    """Yield each MAC that its bridge does not forward to its port; an entry at another port is of the same cause."""
    for fact in left.take_missing(kinds.FORWARD):
        live = left.take_surplus(kinds.FORWARD, where=_is_entry_for(fact))
        meaning = _MOVED if live else _NO_ENTRY
        of = Difference([fact], [])  # `bridge fdb replace` moves the entry
        yield explain(seen, meaning, fact, of, live=live[0].link if live else "")
    yield from explain_all(seen, left, {kinds.FORWARD: _ENTRY}, missing=False)


def _is_entry_for(wanted: Fact) -> Condition:
    return lambda fact: (fact.bridge, fact.value) == (wanted.bridge, wanted.value)


def _isolated(seen: Observed, left: Differences) -> Iterator[Finding]:
    """Yield one finding for the isolated ports of a bridge: isolation has no effect on a port alone."""
    of_bridge = defaultdict(list)
    bridges = {node.bridge_interface: node.bridge for node in seen.topology.nodes}
    found = {fact.link: fact for fact in left.take_surplus(kinds.ISOLATED)}
    # In the order of the table: the kernel's is that in which the links were created.
    for link in sorted(found, key=[*bridges, *found].index):
        of_bridge[bridges.get(link, "")].append(found[link])
    for facts in of_bridge.values():
        names = [nodes_at(seen, fact.link) for fact in facts]
        words = {
            "isolated": f"{' and '.join(fact.link for fact in facts)} {'are' if len(facts) > 1 else 'is'}",
            "apart": f"traffic between {' and '.join(names)}; both reach all others"
            if len(facts) > 1
            else "nothing as long as no other port of the bridge is isolated",
        }
        yield explain(seen, _ISOLATED, facts[0], Difference([], facts), **words)


def _open_to_host(seen: Observed, left: Differences) -> Iterator[Finding]:
    """Yield each port from which the host itself accepts packets."""
    for fact in left.take_missing(kinds.CLOSED_PORT):
        differing = dict(_open_settings(fact.link))
        if not differing:  # the port is missing
            continue
        listed = ", ".join(f"{key} is {value}" for key, value in differing.items())
        yield explain(
            seen, _CLOSED, fact, Difference([fact], []), differing=listed, key=next(iter(differing))
        )


def _open_to_advertisements(seen: Observed, left: Differences) -> Iterator[Finding]:
    """Yield each bridge whose router advertisements the host accepts; below an MTU of 1280 it has no IPv6."""
    for fact in left.take_missing(kinds.NO_ADVERTISEMENTS):
        if Path("/proc/sys/net/ipv6/conf", fact.link).exists():
            yield explain(seen, _ADVERTISED, fact, Difference([fact], []))


def _open_settings(port: str) -> Iterator[tuple[str, str]]:
    """Yield the settings of a port that let the host accept its packets, each with its live value."""
    for setting in kinds.PORT_SYSCTLS:
        key, _, wanted = setting.format(link=port).partition("=")
        with suppress(OSError):
            live = Path("/proc/sys", key).read_text(encoding="ascii").strip()
            if live != wanted:
                yield key.replace("/", "."), live
