"""Read the lab's facts from the kernel, with manual changes to the lab and foreign objects that have its names."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lab.network import facts as kinds
from lab.network.facts import HOST, Fact
from lab.network.inside import cidrs, facts_inside, facts_on_links, is_new
from lab.network.reading import Object, ReadError, State, read_host, read_namespaces
from lab.topology import LINK_GROUP, OUTSIDE_NAMESPACE, Topology, TopologyError, load


class Live(NamedTuple):
    """The host, the lab's facts in the order in which they are made, and names that are not the lab's."""

    host: State
    facts: list[Fact]
    foreign_namespaces: list[str]
    symbolic_links: list[str]


def read_live(topology: Topology | None) -> Live:
    """Read the live facts of this table and of the tables that the bridges name. Raises ReadError."""
    try:
        return _read_once(topology)
    except ReadError:
        return _read_once(topology)  # a proof has ended meanwhile and deleted its namespace


def read_host_facts(topology: Topology) -> list[Fact]:
    """Return the facts that the host alone shows; the namespaces' ends of veth pairs are unknown. Raises ReadError."""
    return list(_Reader(read_host(), []).facts(topology))


def _read_once(topology: Topology | None) -> Live:
    host = read_host()
    names, stale, symbolic_links = _sort_names(host, topology)
    reader = _Reader(host, list(read_namespaces(names)))
    facts = [*(Fact(kinds.STALE, name) for name in stale), *reader.facts(topology)]
    return Live(host, facts, reader.foreign, symbolic_links)


def _sort_names(host: State, topology: Topology | None) -> tuple[list[str], list[str], list[str]]:
    """Return the names in /run/netns: of namespaces that may be the lab's, stale ones, and symbolic links.

    A namespace holds the other end of a port of the lab (same netnsid), under the name in the port's alias; the same
    namespace may have other names, which are not the lab's. Or it has the name of a node. `ip netns add` creates a file
    first, so a killed run can leave a file without a namespace (stale). `ip netns del` would follow a symbolic link.
    """
    names: list[str] = []
    stale: list[str] = []
    symbolic_links: list[str] = []
    known = _known_names(host, topology)
    aliases: dict[int, set[str]] = defaultdict(set)
    for link in _links_of_lab(host):
        if "link_netnsid" in link:
            aliases[link["link_netnsid"]].add(link.get("ifalias", ""))
    for namespace in host.namespaces:
        name, ends = namespace["name"], aliases.get(namespace.get("id", -1), set())
        path, is_known = f"/run/netns/{name}", name in known
        if os.path.islink(path):
            symbolic_links += [name] if is_known else []
        elif f"cnet {name}" in ends or (
            is_known and (ends or _is_namespace(path))
        ):  # a new port has no alias yet
            names.append(name)
        elif is_known:
            stale.append(name)
    return names, stale, symbolic_links


def _is_namespace(path: str) -> bool:
    try:
        return os.stat(path).st_dev != os.stat("/run/netns").st_dev
    except OSError:
        return False


def _known_names(host: State, topology: Topology | None) -> set[str]:
    """Return the namespaces of the table and of all tables that are up; skip a table that is not valid any more."""
    known = {OUTSIDE_NAMESPACE} | ({node.namespace for node in topology.nodes} if topology else set())
    aliases = {link.get("ifalias", "") for link in _links_of_lab(host)}
    for table in {alias.removeprefix("cnet ") for alias in aliases if alias.startswith("cnet /")}:
        if topology is None or table != str(topology.path):
            try:
                known |= {node.namespace for node in load(table).nodes}
            except (TopologyError, OSError):
                continue
    return known


def _links_of_lab(host: State) -> list[Object]:
    return [link for link in host.links if link.get("group") == str(LINK_GROUP)]


class _Reader:
    """Joins the links of the host with those in namespaces: each end of a veth pair has the index of the other.

    The host's end also has the netnsid of the namespace. A namespace of a table without such an end (a link was
    deleted, a run was killed) is the lab's if it has the mark, or if it is unchanged since it was made. Links that were
    added inside a namespace are not the lab's.
    """

    def __init__(self, host: State, states: list[State]) -> None:
        self.host, self.states, self.links = host, states, _links_of_lab(host)
        numbers = {namespace["name"]: namespace.get("id") for namespace in host.namespaces}
        ports = {(link.get("link_netnsid"), link.get("link_index"), link["ifindex"]) for link in self.links}
        self.foreign: list[str] = []  # names of foreign namespaces
        self.ends: dict[tuple[object, ...], tuple[str, Object]] = {}
        self.held: dict[str, list[Object]] = {state.name: [] for state in states}
        for state in states:
            for link in state.links:
                pair = (numbers.get(state.name), link["ifindex"], link.get("link_index"))
                self.ends[pair] = state.name, link
                if pair in ports:
                    self.held[state.name].append(link)

    def facts(self, topology: Topology | None) -> Iterator[Fact]:
        """Yield all facts, in the order in which things are made; note foreign namespaces."""
        yield from closed_links(topology)
        for link in self.links:
            is_bridge = link.get("linkinfo", {}).get("info_kind") == "bridge"
            yield from self._bridge(link) if is_bridge else self._port(link)
            if "UP" in link["flags"]:
                yield Fact(kinds.UP, link=link["ifname"])
        for state in self.states:
            held = self.held[state.name]
            if held or is_marked(state) or is_new(state):
                yield from facts_inside(state, held, is_marked(state))
            else:
                self.foreign.append(state.name)
        yield from facts_on_links(self.host, self.links)
        yield from self._entries()

    def _entries(self) -> Iterator[Fact]:
        names = {link["ifname"] for link in self.links}
        for entry in self.host.entries:
            if entry.get("ifname") in names and "master" in entry and "sticky" in entry.get("flags", ()):
                yield Fact(kinds.FORWARD, link=entry["ifname"], bridge=entry["master"], value=entry["mac"])

    def _bridge(self, link: Object) -> Iterator[Fact]:
        name, data = link["ifname"], link["linkinfo"].get("info_data", {})
        alias = link.get("ifalias", "").replace("\n", " ")
        yield Fact(kinds.BRIDGE, link=name, value=link["address"])
        if alias.startswith("cnet /"):
            yield Fact(kinds.TABLE, link=name, value=alias.removeprefix("cnet "))
        elif alias:
            yield Fact(kinds.ALIAS, link=name, value=alias)
        yield from (Fact(kinds.BRIDGE_ADDRESS, link=name, value=cidr) for cidr in cidrs(link))
        if data.get("no_linklocal_learn") == 1 and data.get("mcast_snooping") == 0:
            yield Fact(kinds.NO_LINKLOCAL_LEARNING, link=name)
        if all(data.get(f"nf_call_{what}") == 1 for what in ("iptables", "ip6tables", "arptables")):
            yield Fact(kinds.FILTERED, link=name)

    def _port(self, link: Object) -> Iterator[Fact]:
        name, data = link["ifname"], link.get("linkinfo", {}).get("info_slave_data", {})
        pair = link.get("link_netnsid"), link.get("link_index"), link["ifindex"]
        holder, end = self.ends.get(pair, ("-", {}))
        bridge, state = link.get("master", ""), data.get("state", "forwarding")
        yield Fact(kinds.VETH, holder, end.get("ifname", "-"), peer=name, value=end.get("address", "-"))
        if bridge:
            yield Fact(kinds.PORT, link=name, bridge=bridge)
        if data.get("learning") is False and data.get("flood") is False:
            yield Fact(kinds.NO_LEARNING, link=name, bridge=bridge)
        if data.get("hairpin"):
            yield Fact(kinds.HAIRPIN, link=name)
        if data.get("isolated"):
            yield Fact(kinds.ISOLATED, link=name)
        if data.get("bcast_flood") is False:
            yield Fact(kinds.NO_BROADCAST, link=name)
        if state != "forwarding" and self._may_forward(link):
            yield Fact(kinds.NOT_FORWARDING, link=name, value=state)

    def _may_forward(self, port: Object) -> bool:
        """Decide whether the kernel lets a port forward by itself: its bridge and both ends are up, and no STP."""
        bridge = next((link for link in self.links if link["ifname"] == port.get("master")), None)
        return (
            bridge is not None
            and "UP" in bridge["flags"]
            and bridge.get("linkinfo", {}).get("info_data", {}).get("stp_state") == 0
            and port.get("operstate") == "UP"
        )


def is_marked(state: State) -> bool:
    """Decide whether a namespace has the lab's mark, the alias of its loopback."""
    loopbacks = (link for link in state.links if link["link_type"] == "loopback")
    return any(link.get("ifalias") == f"cnet {state.name}" for link in loopbacks)


def closed_links(topology: Topology | None) -> Iterator[Fact]:
    """Yield the table's bridges and ports whose sysctls keep the host from listening to what it should not."""
    if topology is None:
        return
    for bridge in topology.bridges:
        if kinds.BRIDGE_SYSCTLS and _has_all(kinds.BRIDGE_SYSCTLS, bridge.name):
            yield Fact(kinds.NO_ADVERTISEMENTS, HOST, bridge.name)
    for port in dict.fromkeys(node.bridge_interface for node in topology.nodes):
        if _has_all(kinds.PORT_SYSCTLS, port):
            yield Fact(kinds.CLOSED_PORT, HOST, port)


def _has_all(sysctls: Sequence[str], link: str) -> bool:
    settings = (setting.format(link=link).split("=") for setting in sysctls)
    return all(_sysctl(key) == value for key, value in settings)


def _sysctl(key: str) -> str:
    try:
        with open(f"/proc/sys/{key}") as file:
            return file.read().strip()
    except OSError:
        return ""
