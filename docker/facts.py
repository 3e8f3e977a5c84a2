"""The live network of a host's containers as normalised lines, read in the same way from the lab and from Docker.

rule nat POSTROUTING -s NETWORK ! -o BRIDGE -j MASQUERADE
inside route default via GATEWAY

Sources: ip(8) -json, iptables-save(8), ebtables-save(8), sysctl(8); within a namespace by nsenter(1).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

from docker.normal import Names
from lab.ruleset.iptables import live_ruleset

SYSCTLS = ("net/ipv4/ip_forward", "net/ipv4/conf/BRIDGE/forwarding", "net/ipv4/conf/BRIDGE/route_localnet")
_FRAMES = "net/bridge/bridge-nf-call-iptables"


@dataclass(frozen=True)
class Namespace:
    """A network namespace: the command that enters it, and the paths of its resolv.conf."""

    enter: tuple[str, ...]
    resolvers: tuple[Path, ...] = ()

    def json(self, *command: str) -> list[dict[str, Any]]:
        """Run a command inside and return its output as parsed JSON."""
        found: list[dict[str, Any]] = json.loads(self.text(*command) or "[]")
        return found

    def text(self, *command: str) -> str:
        """Run a command inside and return its output."""
        return subprocess.run([*self.enter, *command], capture_output=True, text=True, check=True).stdout

    def wires(self) -> list[dict[str, Any]]:
        """Return the ends of veth pairs."""
        return self.json("ip", "-j", "link", "show", "type", "veth")

    def addresses(self) -> dict[str, list[IPv4Interface]]:
        """Return the addresses of each interface that has one, without loopback."""
        return {
            link["ifname"]: [IPv4Interface(f"{one['local']}/{one['prefixlen']}") for one in link["addr_info"]]
            for link in self.json("ip", "-j", "-4", "addr")
            if link.get("addr_info") and link["ifname"] != "lo"
        }

    def sysctl(self, key: str) -> str:
        """Return a sysctl's value; empty if the kernel has none of that name."""
        return self.text("sysctl", "-ne", key).strip()

    def name_servers(self) -> list[str]:
        """Return the addresses in the namespace's resolv.conf."""
        file = next((path for path in self.resolvers if path.exists()), None)
        return re.findall(r"^nameserver\s+(\S+)", file.read_text(), re.MULTILINE) if file else []


@dataclass(frozen=True)
class Host:
    """The namespace of the bridges, the containers' namespaces, and the number of the host's proxies."""

    outside: Namespace
    inside: tuple[Namespace, ...]
    proxies: int = 0

    @cached_property
    def names(self) -> Names:
        """Return the bridges with a container's port, and the containers' addresses."""
        addresses = self.outside.addresses()
        used = {str(link.get("master")) for link in self.ports} & set(addresses)
        nodes = (one.ip for inside in self.inside for found in inside.addresses().values() for one in found)
        return Names({name: addresses[name][0] for name in sorted(used)}, frozenset(nodes))

    @cached_property
    def ports(self) -> list[dict[str, Any]]:
        """Return the host's ends of the containers' veth pairs."""
        others = {link["link_index"] for one in self.inside for link in one.wires()}
        return [link for link in self.outside.wires() if link["ifindex"] in others]

    def lines(self) -> Counter[str]:
        """Return each normalised line with the number of times it occurs."""
        outside = (*self._links(), *self._rules(), *self._settings())
        return Counter([*outside, *(line for one in self.inside for line in self._inside(one))])

    def _links(self) -> Iterator[str]:
        for link in self.ports:
            yield f"veth end on {self.names.word(link['master'])}"
        for address in self.names.bridges.values():
            yield f"bridge BRIDGE with GATEWAY/{address.network.prefixlen}"
        for route in self.outside.json("ip", "-j", "route"):
            if route.get("dev") in self.names.bridges:
                source = self.names.word(route.get("prefsrc", "-"))
                yield f"route {self.names.word(route['dst'])} dev BRIDGE src {source}"

    def _rules(self) -> Iterator[str]:
        saved = live_ruleset(self.outside.enter)
        yield from (f"rule {self.names.rule(rule)}" for rule in saved.rules if self.names.concerns(rule))
        yield from (f"rule not read: {unread.text}" for unread in saved.unread)
        for table, chain, policy in saved.policies:
            if (table, chain) == ("filter", "FORWARD"):
                yield f"policy {table} {chain} {policy}"

    def _settings(self) -> Iterator[str]:
        everywhere = self.outside.sysctl(_FRAMES) == "1"
        for link in self.outside.json("ip", "-j", "-d", "link", "show", "type", "bridge"):
            if link["ifname"] in self.names.bridges:
                meet = everywhere or link["linkinfo"]["info_data"].get("nf_call_iptables")
                yield f"frames within a bridge {'meet' if meet else 'do not meet'} iptables"
        for key in SYSCTLS:
            for bridge in self.names.bridges if "BRIDGE" in key else ("",):
                yield f"sysctl {key} = {self.outside.sysctl(key.replace('BRIDGE', bridge))}"
        yield from ["process docker-proxy"] * self.proxies

    def _inside(self, one: Namespace) -> Iterator[str]:
        yield "namespace"
        addresses = one.addresses()
        for link in one.wires():
            yield f"inside veth end, MTU {link['mtu']}"
            made = {_mac_of(address.ip) for address in addresses.get(link["ifname"], ())}
            yield f"inside MAC {'02:42 and the address' if link['address'] in made else 'at random'}"
        for found in addresses.values():
            for address in found:
                yield f"inside address NODE/{address.network.prefixlen}"
        for route in one.json("ip", "-j", "route", "show", "default"):
            yield f"inside route default via {self.names.word(route['gateway'])}"
        for server in one.name_servers():
            yield f"inside name server {self.names.word(server)}"
        saved = live_ruleset(one.enter)
        yield from (f"inside rule {self.names.rule(rule)}" for rule in saved.rules)
        yield from (f"inside rule not read: {unread.text}" for unread in saved.unread)


def lab_host(pid: int, namespaces: Iterable[str]) -> Host:
    """Return the lab in the sandbox whose first process is `pid`."""
    root = Path(f"/proc/{pid}/root")
    enter = ("nsenter", f"--target={pid}", "--mount")
    inside = (
        Namespace(
            (*enter, f"--net={root}/run/netns/{name}", "--"),
            (root / f"etc/netns/{name}/resolv.conf", root / "etc/resolv.conf"),
        )
        for name in namespaces
    )
    return Host(Namespace((*enter, "--net", "--")), tuple(inside))


def docker_host(project: str) -> Host:
    """Return the engine's host and the running containers of a Compose project."""
    netns = os.environ.get("DOCKER_NETNS")
    outside = ("nsenter", f"--net=/run/netns/{netns}", "--") if netns else ()
    here = Namespace(())
    ids = here.text("docker", "ps", "-q", "--filter", f"label=com.docker.compose.project={project}").split()
    pids = here.text("docker", "inspect", "--format", "{{.State.Pid}}", *ids).split() if ids else []
    inside = (
        Namespace(("nsenter", f"--target={pid}", "--net", "--"), (Path(f"/proc/{pid}/root/etc/resolv.conf"),))
        for pid in pids
    )
    proxies = here.text("ps", "-eo", "comm=").split().count("docker-proxy")
    return Host(Namespace(outside), tuple(inside), proxies)


def _mac_of(address: IPv4Address) -> str:
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x42, *address.packed))
