"""Print the live state of the lab's links and namespaces as facts, one a line: scripts/lib/facts.sh lists the kinds.

    python3 -EsS -m lab.live_facts GROUP MTU STATE STATE NAMESPACE...

The STATEs (pipes) are what facts.sh reads by ip(8) and bridge(8), each JSON text in a line: the host's, then of each
namespace its name, links, routes, rules and neighbours. While ip(8) runs, queueing disciplines and rules of nft and
iptables are asked for by netlink (netlink.py), for `tc` and `nft` would be two more processes for each node. The host's
routes and routing rules follow, as "host ...". It imports only what is quick to load.
"""

from __future__ import annotations

import fcntl
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TextIO

from lab.netlink import Qdisc, chains, enter, legacy_tables, qdiscs

_PIPE_BYTES = 1 << 20

Object = dict[str, Any]  # as ip(8) and bridge(8) write it


class Place:
    """A namespace, or the host ("-"), of which only the lab's links count."""

    def __init__(self, name: str, found: list[Qdisc], rules: list[str]) -> None:
        self.name, self.qdiscs, self.chains = name, found, rules
        self.links: list[Object] = []
        self.routes: list[Object] = []
        self.rules: list[Object] = []
        self.neighbours: list[Object] = []

    def is_new(self) -> bool:
        """Tell whether it is as `ip netns add` makes it: only links of the kernel's own, all down, and nothing else."""
        return not (
            any("UP" in link["flags"] or link["addr_info"] or "ifalias" in link for link in self.links)
            or {link["ifname"] for link in self.links} - _KERNEL_LINKS
            or any(self.routing())
            or self.chains
            or self.qdiscs
            or self.neighbours
        )

    def added(self, links: list[Object]) -> Iterator[str]:
        """Yield what somebody added to some of its links, or took from them."""
        names = {link["ifname"] for link in links}
        for link in links:
            where = f"{self.name} {link['ifname']}"
            if link["mtu"] != int(sys.argv[2]):
                yield f"mtu {where} {link['mtu']}"
            if "NOARP" in link["flags"]:
                yield f"no-arp {where}"
            yield from (
                f"qdisc {where} {kind} {parent}"
                for index, kind, parent in self.qdiscs
                if index == link["ifindex"]
            )
            yield from (f"unconnected {where} {cidr}" for cidr in self.unconnected(link))
        for entry in self.neighbours:
            if entry["dev"] in names and not is_multicast(entry["dst"]):
                yield f"neighbour {self.name} {entry['dev']} {entry['dst']} {entry.get('lladdr', '-')}"

    def unconnected(self, link: Object) -> Iterator[str]:
        """Yield the addresses of a link that is up whose routes, which the kernel made, are gone."""
        for address in ipv4(link) if "UP" in link["flags"] else ():
            own = [route for route in self.routes if route.get("dev") == link["ifname"]]
            is_local = any(route.get("type") == "local" and route["dst"] == address["local"] for route in own)
            is_direct = any(
                route.get("type", "unicast") == "unicast" and route.get("prefsrc") == address["local"]
                for route in own
            )
            if not is_local or not (is_direct or address["prefixlen"] == 32 or address.get("secondary")):  # noqa: PLR2004
                yield f"{address['local']}/{address['prefixlen']}"

    def routing(self) -> Iterator[str]:
        """Yield routes and routing rules other than the kernel's own."""
        for route in self.routes:
            if route.get("protocol") == "kernel":
                continue
            if is_default(route):
                yield f"route {self.name} " + (
                    f"via {route['gateway']}" if "gateway" in route else f"dev {route['dev']}"
                )
            else:
                yield f"own-route {self.name} {route_words(route)}"
        missing = dict(_KERNEL_RULES)
        for rule in self.rules:
            if is_kernels(rule):
                missing.pop(rule["priority"], None)
            else:
                yield f"own-rule {self.name} {rule_words(rule)}"
        yield from (f"no-rule {self.name} {priority} {table}" for priority, table in missing.items())


# What a new namespace has: a loopback, and a tunnel's end of each kind that the host has loaded.
_KERNEL_LINKS = {
    "lo",
    "tunl0",
    "gre0",
    "gretap0",
    "erspan0",
    "ip_vti0",
    "ip6_vti0",
    "sit0",
    "ip6tnl0",
    "ip6gre0",
}
_KERNEL_RULES = {0: "local", 32766: "main", 32767: "default"}


def is_kernels(rule: Object) -> bool:
    """Tell whether a routing rule is one that each namespace begins with."""
    plain = {key: value for key, value in rule.items() if key != "protocol"}
    return plain == {"priority": rule["priority"], "src": "all", "table": _KERNEL_RULES.get(rule["priority"])}


def is_default(route: Object) -> bool:
    """Tell whether it is a default route as the lab makes it."""
    plain = route.get("type", "unicast") == "unicast" and route.get("table", "main") == "main"
    return route["dst"] == "default" and plain and "dev" in route and "metric" not in route


def is_multicast(address: str) -> bool:
    """Tell whether an address of a neighbour is one of many hosts."""
    return address.startswith("ff") or ("." in address and 224 <= int(address.partition(".")[0]) < 240)  # noqa: PLR2004


def route_words(route: Object) -> str:
    """Write a route as `ip route del` takes it."""
    words = [route["type"]] if route.get("type", "unicast") != "unicast" else []
    words += [route["dst"], *hop_words(route)]
    for hop in route.get("nexthops", ()):
        words += ["nexthop", *hop_words(hop)]
    words += ["table", route["table"]] if route.get("table", "main") != "main" else []
    return " ".join(words + (["metric", str(route["metric"])] if "metric" in route else []))


def hop_words(hop: Object) -> list[str]:
    """Write where a route leads."""
    words = ["via", hop["gateway"]] if "gateway" in hop else []
    words += ["via", hop["via"]["family"], hop["via"]["host"]] if "via" in hop else []
    return words + (["dev", hop["dev"]] if "dev" in hop else [])


def rule_words(rule: Object) -> str:
    """Write a routing rule as `ip rule del` takes it."""
    words = [
        "priority",
        rule["priority"],
        *(["not"] if "not" in rule else []),
        "from",
        masked(rule, "src", "srclen"),
    ]
    words += ["to", masked(rule, "dst", "dstlen")] if "dst" in rule else []
    words += ["fwmark", masked(rule, "fwmark", "fwmask")] if "fwmark" in rule else []
    for key in ("tos", "iif", "oif", "ipproto", "sport", "dport"):
        words += [key, rule[key]] if key in rule else []
    words += [rule["action"]] if "action" in rule else []
    words += ["table", rule["table"]] if "table" in rule else []
    words += ["suppress_prefixlength", rule["suppress_prefixlen"]] if "suppress_prefixlen" in rule else []
    return " ".join(map(str, words))


def masked(rule: Object, key: str, mask: str) -> str:
    """Write a value with its mask, where it has one."""
    return f"{rule[key]}/{rule[mask]}" if mask in rule else str(rule[key])


def ipv4(link: Object) -> list[Object]:
    """List a link's IPv4 addresses."""
    return [address for address in link["addr_info"] if address.get("family") == "inet"]


def cidrs(link: Object) -> list[str]:
    """List them as ADDRESS/LENGTH."""
    return [f"{address['local']}/{address['prefixlen']}" for address in ipv4(link)]


class Lab:
    """The host's links of the lab, and the namespaces that may hold their other ends.

    A pair's two ends name each other by index; the host's end also by the namespace's number. A namespace with a name
    of ours that holds no such end (a link was cut, a run was killed) is ours by its mark, the alias of its loopback, or
    when nobody has used it since it was made. Links that someone added inside a namespace are theirs.
    """

    def __init__(self, host: Object, on_host: Place, places: list[Place]) -> None:
        self.host, self.on_host, self.places = host, on_host, places
        self.links = [link for link in host["links"] if link.get("group") == sys.argv[1]]
        numbers = {each["name"]: each.get("id") for each in host["names"]}
        self.ports = {
            (link.get("link_netnsid"), link.get("link_index"), link["ifindex"]) for link in self.links
        }
        self.ends = {
            (numbers.get(place.name), link["ifindex"], link.get("link_index")): (place.name, link)
            for place in places
            for link in place.links
        }
        self.held: dict[str, list[Object]] = {place.name: [] for place in places}
        for pair, (name, link) in self.ends.items():
            if pair in self.ports:
                self.held[name].append(link)

    def facts(self) -> Iterator[str]:
        """Yield all of them, in the order in which things are made."""
        for link in self.links:
            is_bridge = link.get("linkinfo", {}).get("info_kind") == "bridge"
            yield from self._bridge(link) if is_bridge else self._port(link)
            if "UP" in link["flags"]:
                yield f"up {link['ifname']}"
        for place in self.places:
            yield from self._inside(place)
        yield from self.on_host.added(self.links)
        names = {link["ifname"] for link in self.links}
        for entry in self.host["entries"]:
            if entry.get("ifname") in names and "master" in entry and "sticky" in entry.get("flags", ()):
                yield f"forward {entry['ifname']} {entry['master']} {entry['mac']}"

    def host_routing(self) -> Iterator[str]:
        """Yield routes of the host, other than by default and those of the lab's own addresses, and routing rules."""
        names = {link["ifname"] for link in self.links}
        for route in self.host["routes"]:
            is_kernels_own = route.get("protocol") == "kernel"
            is_ours = is_kernels_own and route.get("dev") in names
            if route["dst"] != "default" and ":" not in route["dst"] and not is_ours:
                words = "" if is_kernels_own else route_words(route)
                yield f"host route {route['dst']} {route.get('dev', route.get('type'))} {words}"
        for rule in self.host["rules"]:
            if not is_kernels(rule):
                ends = [
                    masked(rule, "src", "srclen"),
                    masked(rule, "dst", "dstlen") if "dst" in rule else "all",
                ]
                ends = [end if "/" in end else f"{end}/32" for end in ends]
                yield f"host rule {' '.join(ends)} {rule.get('iif', rule.get('oif', '-'))} {rule_words(rule)}"

    def _bridge(self, link: Object) -> Iterator[str]:
        name, data = link["ifname"], link["linkinfo"].get("info_data", {})
        yield f"bridge {name} {link['address']}"
        if "ifalias" in link:
            yield f"alias {name} " + link["ifalias"].replace("\n", " ")
        yield from (f"bridge-address {name} {cidr}" for cidr in cidrs(link))
        if data.get("no_linklocal_learn") == 1 and data.get("mcast_snooping") == 0:
            yield f"no-learning {name}"
        if all(data.get(f"nf_call_{what}") == 1 for what in ("iptables", "ip6tables", "arptables")):
            yield f"filtered {name}"

    def _port(self, link: Object) -> Iterator[str]:
        name, data = link["ifname"], link.get("linkinfo", {}).get("info_slave_data", {})
        holder, end = self.ends.get(
            (link.get("link_netnsid"), link.get("link_index"), link["ifindex"]), ("-", {})
        )
        yield f"veth {holder} {end.get('ifname', '-')} {name} {end.get('address', '-')}"
        if "master" in link:
            yield f"port {name} {link['master']}"
        if data.get("learning") is False and data.get("flood") is False:
            yield f"no-learning {name} {link.get('master')}"
        if data.get("hairpin"):
            yield f"hairpin {name}"
        if data.get("isolated"):
            yield f"cut-off {name} isolated on"
        if data.get("bcast_flood") is False:
            yield f"cut-off {name} bcast_flood off"
        if data.get("state", "forwarding") != "forwarding" and self._may_forward(link):
            yield f"cut-off {name} state {data['state']}"

    def _may_forward(self, port: Object) -> bool:
        """Tell whether the kernel lets a port forward by itself, while its bridge and both ends are up, without STP."""
        bridge = next((link for link in self.links if link["ifname"] == port.get("master")), None)
        return (
            bridge is not None
            and "UP" in bridge["flags"]
            and bridge.get("linkinfo", {}).get("info_data", {}).get("stp_state") == 0
            and port.get("operstate") == "UP"
        )

    def _inside(self, place: Place) -> Iterator[str]:
        name, mine = place.name, self.held[place.name]
        loopbacks = [link for link in place.links if link["link_type"] == "loopback"]
        is_marked = any(link.get("ifalias") == f"cnet {name}" for link in loopbacks)
        if not (mine or is_marked or place.is_new()):
            yield f"foreign {name}"
            return
        yield f"namespace {name}"
        if is_marked:
            yield f"mark {name}"
        yield from (
            f"inside-up {name} {link['ifname']}" for link in loopbacks + mine if "UP" in link["flags"]
        )
        for link in loopbacks + mine:
            yield from (
                f"address {name} {link['ifname']} {cidr}" for cidr in cidrs(link) if cidr != "127.0.0.1/8"
            )
        yield from place.routing()
        yield from (f"rules {name} {chain}" for chain in place.chains)
        yield from place.added(mine)


def main(streams: list[TextIO], namespaces: list[str]) -> None:
    """Print the facts. The host comes first, for there is no way back to it."""
    for stream in streams:  # whoever writes the second need not wait until the first is read
        with suppress(OSError):
            fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    on_host = Place("-", qdiscs(), [])
    places = []
    for namespace in namespaces:
        enter(namespace)
        places.append(Place(namespace, qdiscs(), chains() + legacy_tables()))
    host, *state = (json.loads(line) for stream in streams for line in stream)
    on_host.routes, on_host.neighbours = host["routes"], host["neighbours"]
    for at, place in enumerate(places):
        name, place.links, place.routes, place.rules, place.neighbours = state[at * 5 : at * 5 + 5]
        if name != place.name:
            raise ValueError(f"the state of namespace {place.name} cannot be read")
    lab = Lab(host, on_host, places)
    for fact in (*lab.facts(), *lab.host_routing()):
        print(fact)


if __name__ == "__main__":
    main([open(path, encoding="utf-8") for path in sys.argv[3:5]], sys.argv[5:])  # noqa: SIM115 - until the end
