"""Findings in settings of the kernel: sysctls of the host and in namespaces, and its connection tracking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab.namespace import inside
from lab.network.conflicts import VPN_HALVES
from security.diagnose.differences import HOST, nodes_at
from security.diagnose.finding import Evidence, Finding, Kind
from security.diagnose.observed import Observed

_SYS = Path("/proc/sys")
_CONNTRACK = "net/netfilter/nf_conntrack"
_NO_REPLY = "8"  # arp_ignore: reply for no local address
_MIN_TTL = 16  # routers on the way of a packet
_MIN_PORTS = 1024  # that connections of clients can have
_MIN_SECONDS = 3  # of a timeout of connection tracking: an answer may take that long
_ENDED = ("tcp_timeout_close", "tcp_timeout_time_wait")  # of connections that have ended: nothing answers
_FULL = 0.95  # of the connection table


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A sysctl, the values that break something, and what they break; {value} in `cause` is the live one."""

    key: str  # with slashes: the name of an interface may have a dot
    wanted: str
    is_wrong: Callable[[str], bool]
    cause: str
    breaks: str

    @property
    def name(self) -> str:
        """The key as sysctl prints it."""
        return self.key if "." in self.key else self.key.replace("/", ".")


def check_host(seen: Observed) -> Iterator[Finding]:
    """Yield wrong sysctls, of the host and in namespaces, and a full connection table."""
    if seen.nat_is_wanted:
        yield from _compare(HOST, _of_forwarding(seen))
        yield from _compare(HOST, _of_forwarding6(seen))
    for bridge in seen.topology.bridges:
        yield from _compare(HOST, _of_interface(bridge.name, nodes_at(seen, bridge.name)))
    yield from _compare(HOST, _of_any_host("the host"))
    yield from _compare(HOST, _timeouts())
    for namespace in dict.fromkeys(node.namespace for node in seen.topology.nodes):
        nodes = nodes_at(seen, namespace)
        node = seen.topology.node_in(namespace)
        with suppress(OSError), inside(namespace):  # its absence is a finding of the network
            yield from _compare(namespace, _of_any_host(nodes))
            yield from _compare(namespace, _of_interface(node.interface if node else "lo", nodes))
    yield from _connection_table(seen)


def _compare(place: str, settings: Iterator[Setting]) -> list[Finding]:
    """Return a finding for each setting whose live value is wrong, in the namespace of this thread."""
    return [
        _finding(place, setting, value)
        for setting in settings
        if (value := _read(setting.key)) and setting.is_wrong(value)
    ]


def _finding(place: str, setting: Setting, value: str) -> Finding:
    enter = "" if place == HOST else f"ip netns exec {place} "
    assignment = f"{setting.name}={setting.wanted}"
    quoted = f"'{assignment}'" if " " in assignment else assignment
    return Finding(
        kind=Kind.SYSCTL,
        object=setting.name,
        place=place,
        cause=setting.cause.format(value=value),
        breaks=setting.breaks,
        repair=(f"sudo {enter}sysctl -w {quoted}",),
        evidence=(Evidence(command=f"sudo {enter}sysctl {setting.name}", line=f"{setting.name} = {value}"),),
    )


def _read(key: str) -> str:
    """Return the value of a sysctl in the namespace of this thread; empty if there is none."""
    try:
        return " ".join((_SYS / key).read_text(encoding="ascii").split())
    except OSError:
        return ""


# --- settings -------------------------------------------------------------------------------------


def _of_forwarding(seen: Observed) -> Iterator[Setting]:
    """Yield what scripts/nat.sh sets for IPv4: the host forwards by the bridges and its uplinks."""
    bridges = [bridge.name for bridge in seen.topology.bridges if bridge.address_of(4)]
    for bridge in bridges:
        nodes = nodes_at(seen, bridge)
        yield _forwarding(bridge, f"{nodes}: their packets to other networks, and their replies there")
    for uplink in uplinks(seen) if bridges else ():
        yield _forwarding(uplink, "customers outside, and the answers that nodes get from outside")
    publishing = dict.fromkeys(node.bridge for node in seen.topology.nodes if node.publishes)
    for name in (bridge for bridge in publishing if bridge in bridges):
        yield Setting(
            key=f"net/ipv4/conf/{name}/route_localnet",
            wanted="1",
            is_wrong=lambda value: value == "0" and _read("net/ipv4/conf/all/route_localnet") == "0",
            cause=f"route_localnet of {name} is {{value}}: the kernel sends no packet from 127.0.0.1 by {name}",
            breaks="the published port for programs of the host itself, at localhost; others reach it",
        )


def _forwarding(interface: str, breaks: str) -> Setting:
    return Setting(
        key=f"net/ipv4/conf/{interface}/forwarding",
        wanted="1",
        is_wrong=lambda value: value == "0",
        cause=f"the host forwards no packet that enters by {interface} (forwarding is {{value}})",
        breaks=breaks,
    )


def _of_forwarding6(seen: Observed) -> Iterator[Setting]:
    """Yield what scripts/nat.sh sets for IPv6; before Linux 6.17 a host forwards on all interfaces or on none."""
    bridges = {
        bridge.name: nodes_at(seen, bridge.name) for bridge in seen.topology.bridges if bridge.address6
    }
    broken = {name: f"{nodes}: their IPv6 packets to other networks" for name, nodes in bridges.items()}
    if bridges:
        broken |= dict.fromkeys(uplinks(seen, 6), "customers outside, and the answers from outside, in IPv6")
    for interface, breaks in broken.items():
        yield Setting(
            key=f"net/ipv6/conf/{interface}/force_forwarding",
            wanted="1",
            is_wrong=lambda value: value == "0" and _read("net/ipv6/conf/all/forwarding") == "0",
            cause=f"the host forwards no IPv6 packet that enters by {interface} (force_forwarding is {{value}})",
            breaks=breaks,
        )


def uplinks(seen: Observed, version: int = 4) -> list[str]:
    """Return the interfaces of the host's default routes of an IP version, as scripts/lib/live.sh does."""
    found = []
    for route in seen.live.host.routes:
        is_default = route["dst"] in ("default", *VPN_HALVES) and route.get("type", "unicast") == "unicast"
        if is_default and ("pref" in route) == (version == 6):  # noqa: PLR2004 - only routes of IPv6 have it
            hops = [route, *route.get("nexthops", ())]
            found += [str(hop["dev"]) for hop in hops if "dev" in hop]
    return list(dict.fromkeys(found))


def _of_interface(interface: str, nodes: str) -> Iterator[Setting]:
    """Yield settings of an interface that answers ARP: the end of a veth pair in a namespace, or a bridge."""
    keys = {name: f"net/ipv4/conf/{interface}/{name}" for name in ("arp_ignore", "proxy_arp_pvlan")}
    yield Setting(
        key=keys["arp_ignore"],
        wanted="0",
        is_wrong=lambda value: value == _NO_REPLY,
        cause=f"{interface} answers no ARP request (arp_ignore is {{value}})",
        breaks=f"{nodes}: others find the MAC behind {interface} only while {interface} asks for theirs",
    )
    yield Setting(
        key=keys["proxy_arp_pvlan"],
        wanted="0",
        is_wrong=lambda value: value == "1",
        cause=f"{interface} answers ARP requests for the addresses of others (proxy_arp_pvlan is {{value}})",
        breaks=f"{nodes}: packets between neighbours may go to {interface}",
    )


def _of_any_host(who: str) -> Iterator[Setting]:
    """Yield settings that a host and each namespace have."""
    yield Setting(
        key="net/ipv4/icmp_echo_ignore_all",
        wanted="0",
        is_wrong=lambda value: value == "1",
        cause=f"the kernel of {who} answers no ping (icmp_echo_ignore_all is {{value}})",
        breaks=f"ping to {who}; everything else works",
    )
    yield Setting(
        key="net/ipv4/ip_default_ttl",
        wanted="64",
        is_wrong=lambda value: int(value) < _MIN_TTL,
        cause=f"packets of {who} have a TTL of {{value}}: each router subtracts 1, and drops a packet at 0",
        breaks=f"{who}: packets that a router forwards, also replies; neighbours are reached",
    )
    yield Setting(
        key="net/ipv4/ip_local_port_range",
        wanted="32768 60999",
        is_wrong=lambda value: _count_ports(value) < _MIN_PORTS,
        cause=f"{who} has few ports for its own connections (ip_local_port_range is {{value}})",
        breaks=f"{who}: no new connection while all ports are in use or in TIME_WAIT",
    )


def _count_ports(value: str) -> int:
    first, last = map(int, value.split())
    return last - first + 1


def _timeouts() -> Iterator[Setting]:
    """Yield the timeouts of connection tracking in the host's namespace."""
    for path in sorted((_SYS / "net/netfilter").glob("nf_conntrack_*timeout*")):
        if path.name.endswith(_ENDED):
            continue
        name = path.name.removeprefix("nf_conntrack_").partition("_timeout")[0]
        yield Setting(
            key=str(path.relative_to(_SYS)),
            wanted="30",
            is_wrong=lambda value: int(value) < _MIN_SECONDS,
            cause=f"conntrack deletes a {name} entry after {{value}} s ({path.name})",
            breaks=f"{name} replies that come later: they belong to no connection, so the policy drops them",
        )


# --- the connection table -------------------------------------------------------------------------


def _connection_table(seen: Observed) -> Iterator[Finding]:
    """Yield a finding if the table of tracked connections is full or nearly so."""
    count, limit = (int(_read(f"{_CONNTRACK}_{what}") or 0) for what in ("count", "max"))
    if not limit or count < limit * _FULL:
        return
    drops = sum(int(row.get("drop", 0)) for row in _statistics(seen))
    yield Finding(
        kind=Kind.CONNTRACK_FULL,
        object="nf_conntrack",
        place=HOST,
        cause=f"the conntrack table is {count / limit:.0%} full: {count} of {limit} entries; {drops} packets dropped",
        breaks="new connections through the host, at random",
        repair=(
            f"sudo sysctl -w {_CONNTRACK.replace('/', '.')}_max={limit * 2}",
            "sudo conntrack -L shows which connections fill it",
        ),
        evidence=(
            Evidence(command=f"sysctl {_CONNTRACK.replace('/', '.')}_count", line=f"{count} (limit {limit})"),
            Evidence(command="sudo conntrack -S", line=f"drop={drops}"),
        ),
    )


def _statistics(seen: Observed) -> Iterator[dict[str, str]]:
    """Yield the counters of each CPU, from `conntrack -S`."""
    for line in seen.run("conntrack", "-S").splitlines():
        yield dict(word.split("=", 1) for word in line.split() if "=" in word)
