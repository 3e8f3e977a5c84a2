"""Find objects of the host that conflict with a table; each is one line with the command that resolves it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import NamedTuple

from lab.network.facts import HAS_IPV6, mac_of
from lab.network.inside import is_kernel_rule, masked, route_words, rule_words
from lab.network.live import Live
from lab.network.reading import Object, State
from lab.topology import LINK_GROUP, Address, Bridge, Topology, own_table_command

_MAX_PORTS = 1023  # ports per bridge: the kernel's BR_MAX_PORTS
VPN_HALVES = ("0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1")  # a default route in two halves
_FREE_NETWORKS = ("10.200.0", "10.222.0", "172.30.0", "192.168.0")


class _Route(NamedTuple):
    network: IPv4Network | IPv6Network
    device: str
    words: str  # for `ip route del`; "" if the kernel added the route for an address


def table_conflicts(topology: Topology) -> Iterator[str]:
    """Yield the table's own conflicts: too many ports on a bridge, equal MACs."""
    yield from _many_ports(topology)
    yield from _equal_macs(topology)


def _equal_macs(topology: Topology) -> Iterator[str]:
    """Yield each node whose MAC another place on its bridge has; different IPv6 addresses may give the same."""
    taken = {(bridge.name, mac_of(bridge.address.ip)): bridge.name for bridge in topology.bridges}
    for node in topology.nodes:
        if topology.node_of_wire(node) is node:
            other = taken.setdefault((node.bridge, mac_of(node.address.ip)), node.name)
            if other != node.name:
                reason = (
                    f"{node.address.ip} gives the same MAC as the address of {other}; take another address"
                )
                yield f"{topology.path}:{node.line}: address6: {reason}"


def _many_ports(topology: Topology) -> Iterator[str]:
    """Yield each bridge that would have more ports than the kernel allows."""
    ports = Counter(node.bridge for node in topology.nodes if topology.node_of_wire(node) is node)
    for bridge in topology.bridges:
        if ports[bridge.name] > _MAX_PORTS:
            yield (
                f"{topology.path}:{bridge.line}: bridge {bridge.name} would have {ports[bridge.name]} ports, the "
                f"kernel allows {_MAX_PORTS}; spread the nodes over several bridges"
            )


def host_conflicts(topology: Topology, live: Live) -> Iterator[str]:
    """Yield objects of the host that have a name of the lab, or route an address of the lab elsewhere."""
    yield from _foreign_links(topology, live.host)
    for name in live.foreign_namespaces:
        yield (
            f"there is a namespace {name} that is not the lab's: `ip netns del {name}`, "
            f"or take another name in {topology.path}"
        )
    for name in live.symbolic_links:
        yield (
            f"/run/netns/{name} is a symbolic link that is not the lab's: `rm /run/netns/{name}`, "
            f"or take another name in {topology.path}"
        )
    routes = list(_routes(live.host))
    for bridge in topology.bridges:
        for route in routes:
            for own in bridge.addresses:
                if route.network.overlaps(own.network):
                    yield _overlap(topology, bridge, own, route, routes)
    yield from _foreign_rules(topology, live.host)
    yield from _switched_off(topology)


def _names_of(topology: Topology) -> set[str]:
    return {bridge.name for bridge in topology.bridges} | {node.bridge_interface for node in topology.nodes}


def _foreign_links(topology: Topology, host: State) -> Iterator[str]:
    names = _names_of(topology)
    for link in host.links:
        if link.get("group") == str(LINK_GROUP):
            continue
        name = link["ifname"]
        if name in names and link.get("ifalias", "").startswith("cnet "):
            yield (
                f"interface {name} of the lab is not in the lab's link group any more; "
                f"sudo ip link set dev {name} group {LINK_GROUP}"
            )
        elif name in names:
            yield (
                f"the host has an interface {name} that is not the lab's; rename it, "
                f"or take another name in {topology.path}"
            )
        for alternative in link.get("altnames", ()):
            if alternative in names:
                yield (
                    f"{alternative} is an alternative name of interface {name}, which is not the lab's; "
                    f"ip link property del dev {name} altname {alternative}, or take another name in {topology.path}"
                )


def _routes(host: State) -> Iterator[_Route]:
    """Yield the host's routes, except default routes and those of the lab's own addresses."""
    ours = {link["ifname"] for link in host.links if link.get("group") == str(LINK_GROUP)}
    for route in host.routes:
        is_kernels = route.get("protocol") == "kernel"
        destination = route["dst"]
        if (
            destination in ("default", *VPN_HALVES)
            or route.get("type") == "multicast"
            or (is_kernels and route.get("dev") in ours)
        ):
            continue
        device = str(route.get("dev", route.get("type")))
        yield _Route(ip_network(destination, strict=False), device, "" if is_kernels else route_words(route))


def _overlap(topology: Topology, bridge: Bridge, own: Address, route: _Route, routes: list[_Route]) -> str:
    column, option = ("address6", "-6 ") if own.version == 6 else ("address", "")  # noqa: PLR2004
    return (
        f"{topology.path}:{bridge.line}: {column}: {own} of {bridge.name} overlaps with the host's route "
        f"{route.network} by {route.device}; take another network: {_other_network(topology, own, routes)}"
        + (f", or remove the route: sudo ip {option}route del {route.words}" if route.words else "")
    )


def _switched_off(topology: Topology) -> Iterator[str]:
    """Yield why this kernel gives the lab no IPv6, if the table wants it."""
    wanting = next((bridge for bridge in topology.bridges if bridge.address6), None)
    if wanting is None:
        return
    where = f"{topology.path}:{wanting.line}: address6: "
    if not HAS_IPV6:
        yield f"{where}this kernel has no IPv6 (ipv6.disable=1); boot with it, or use a table without the column"
    elif _is_off("default") or _is_off(wanting.name):
        keys = f"net.ipv6.conf.default.disable_ipv6=0 net.ipv6.conf.{wanting.name}.disable_ipv6=0"
        yield f"{where}IPv6 is switched off: `sudo sysctl -e -w {keys}`, or use a table without the column"


def _is_off(interface: str) -> bool:
    try:
        return Path(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6").read_text() == "1\n"
    except OSError:
        return False


def _other_network(topology: Topology, own: Address, routes: list[_Route]) -> str:
    """Return the command that moves the table to a free network, for the usual prefix lengths of IPv4."""
    length = own.network.prefixlen
    octets = {16: 2, 24: 3}.get(length)
    if octets and own.version == 4:  # noqa: PLR2004
        old = str(own.ip).split(".")
        for free in _FREE_NETWORKS:
            new = free.split(".")[:octets]
            network = IPv4Network(f"{'.'.join(new + old[octets:])}/{length}", strict=False)
            if not any(route.network.overlaps(network) for route in routes):
                pattern = "\\.".join(old[:octets])
                return own_table_command(topology.path, f"s/\\t{pattern}\\./\\t{'.'.join(new)}./")
    return f"change it in a copy of {topology.path}"


def _foreign_rules(topology: Topology, host: State) -> Iterator[str]:
    """Yield each of the host's routing rules that names an address or interface of the lab."""
    names = _names_of(topology)
    for rule in host.rules:
        if is_kernel_rule(rule):
            continue
        networks = [masked(rule, "src", "srclen"), masked(rule, "dst", "dstlen") if "dst" in rule else "all"]
        if _interface_of(rule) in names or any(_is_of_lab(topology, network) for network in networks):
            words = rule_words(rule)
            yield f"a routing rule of the host that is not the lab's: {words}; remove it: sudo ip rule del {words}"


def _interface_of(rule: Object) -> str:
    return str(rule.get("iif", rule.get("oif", "")))


def _is_of_lab(topology: Topology, text: str) -> bool:
    if text in ("all", "0/0") or ":" in text:
        return False
    address, _, length = text.partition("/")
    network = IPv4Network((int(IPv4Address(address)), int(length or 32)), strict=False)
    return any(network.overlaps(bridge.address.network) for bridge in topology.bridges)
