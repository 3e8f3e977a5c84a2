"""Read the live lab from ip, ss, iptables-save and nft; the topology table is not used.

Each end of a veth pair has the index of the other one. The host's end has the lab's link group and the number (netnsid)
of the namespace with the other end, which `ip netns list` translates to a name.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path
from typing import Any

from lab.ruleset.iptables import parse
from lab.topology import LINK_GROUP
from lab.unread import Unread
from monitoring.publications import Publication, Publications, publications

Link = dict[str, Any]  # one link as `ip -j` prints it

_PROGRAM = re.compile(r'\("([^"]*)",pid=')
_TIMEOUT_SECONDS = 30  # timeout of one command
# A line of `ss -Htn`: the state if it lists several, two queue lengths, then the local address and port.
_SOCKET = re.compile(r"(?:[A-Z][A-Z0-9-]* +)?\d+ +\d+ +(\S+):(\d+) ")
_WORKERS = 8  # commands in parallel; most of the time they wait for the kernel


class LiveError(Exception):
    """The live system cannot be read; the message has the reason in one line."""


@dataclass(frozen=True)
class Address:
    """An address of the host and the interface that has it."""

    interface: str
    address: str


@dataclass(frozen=True)
class Bridge:
    """A bridge of the lab; `forwards` is whether the host routes what comes from it."""

    name: str
    addresses: tuple[str, ...]
    up: bool
    forwards: bool = True


@dataclass(frozen=True, order=True)
class Listener:
    """A TCP port that a program listens on."""

    port: int
    program: str
    address: str = ""


@dataclass(frozen=True)
class Node:
    """A namespace and the veth pair that joins it to the host: `interface` inside, `port` outside."""

    namespace: str
    interface: str
    addresses: tuple[str, ...]
    port: str
    bridge: str  # "" if no bridge
    up: bool
    listeners: tuple[Listener, ...]


@dataclass(frozen=True)
class Lab:
    """The whole lab; loopback and IPv6 link-local addresses are omitted, because every namespace has them."""

    host: tuple[Address, ...]
    bridges: tuple[Bridge, ...]
    nodes: tuple[Node, ...]
    published: tuple[Publication, ...]
    not_shown: tuple[str, ...] = ()  # text of rules and lines that cannot be drawn


def run(*command: str, given: str = "") -> str:
    """Return a command's output; `given` is the input. Raises LiveError when it fails or takes too long."""
    try:
        return subprocess.run(
            command, input=given, capture_output=True, check=True, encoding="utf-8", errors="replace",
            timeout=_TIMEOUT_SECONDS,
        ).stdout  # fmt: skip
    except FileNotFoundError:
        raise LiveError(f"{command[0]} is missing; install it: sudo scripts/install.sh up") from None
    except subprocess.TimeoutExpired:
        raise LiveError(f"`{shlex.join(command)}` did not end within {_TIMEOUT_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip() or f"exit status {error.returncode}").splitlines()[0]
        raise LiveError(f"`{shlex.join(command)}`: {reason}") from None


def collect() -> Lab:
    """Read the live system. Raises LiveError when it cannot be read or no lab is up."""
    links = read_links()
    ours = lab_links(links)
    if not ours:
        raise LiveError("the lab is not up: sudo make up")
    bridges = tuple(
        Bridge(link["ifname"], _addresses_of(link), "UP" in link["flags"], _forwards(link["ifname"]))
        for link in ours
        if link.get("linkinfo", {}).get("info_kind") == "bridge"
    )
    host = tuple(Address(link["ifname"], address) for link in links for address in _addresses_of(link))
    published, unread = _publications(bridges), Unread()
    nodes = _nodes(ours, unread)
    return Lab(host, bridges, nodes, published.ports, (*published.others, *unread.sentences()))


def _forwards(interface: str) -> bool:
    """Return whether the host forwards packets that come in by an interface."""
    return Path(f"/proc/sys/net/ipv4/conf/{interface}/forwarding").read_text(encoding="ascii").strip() == "1"


def read_links(namespace: str = "") -> list[Link]:
    """Return the links of the host or of a namespace, with their addresses and statistics."""
    options = ["-n", namespace] if namespace else []
    links: list[Link] = json.loads(run("ip", *options, "-j", "-d", "-s", "addr", "show"))
    return links


def lab_links(links: Iterable[Link]) -> list[Link]:
    """Return the host's links that belong to the lab."""
    return [link for link in links if link.get("group") == str(LINK_GROUP)]


def need_root() -> None:
    """Raise LiveError for a user who may not enter namespaces."""
    if os.geteuid() != 0:
        raise LiveError("only root can enter namespaces; start it with sudo")


def _addresses_of(link: Link) -> tuple[str, ...]:
    """Return the addresses of a link with their prefix lengths."""
    addresses = (f"{item['local']}/{item['prefixlen']}" for item in link["addr_info"] if "local" in item)
    return tuple(address for address in addresses if not _is_everywhere(ip_interface(address)))


def _is_everywhere(address: IPv4Interface | IPv6Interface) -> bool:
    return address.is_loopback or (address.version == 6 and address.is_link_local)  # noqa: PLR2004 - IPv6


def _nodes(ours: Iterable[Link], unread: Unread) -> tuple[Node, ...]:
    names = {item.get("id"): item["name"] for item in json.loads(run("ip", "-j", "netns", "list") or "[]")}
    ports = [link for link in ours if link.get("link_netnsid") in names]
    with ThreadPoolExecutor(_WORKERS) as pool:
        return tuple(pool.map(lambda port: _node(names[port["link_netnsid"]], port, unread), ports))


def _node(namespace: str, port: Link, unread: Unread) -> Node:
    inside = next(link for link in read_links(namespace) if link["ifindex"] == port["link_index"])
    listening = run("nsenter", f"--net=/run/netns/{namespace}", "ss", "-Hltnp")
    return Node(
        namespace=namespace,
        interface=inside["ifname"],
        addresses=_addresses_of(inside),
        port=port["ifname"],
        bridge=port.get("master", ""),
        up=port["operstate"] == "UP",  # a veth end is UP when both ends were set up
        listeners=tuple(sorted(set(parse_listeners(listening, unread, namespace)))),
    )


def parse_listeners(text: str, unread: Unread, namespace: str) -> Iterator[Listener]:
    """Yield the listeners of `ss -Hltnp`."""
    for address, port, line in parse_sockets(text, unread, namespace):
        program = _PROGRAM.search(line)
        yield Listener(port, program[1] if program else "?", address)


def parse_sockets(text: str, unread: Unread, where: str) -> Iterator[tuple[str, int, str]]:
    """Yield the local address and port, and the line, of each socket that `ss -Htn` prints."""
    for line in text.splitlines():
        if socket := _SOCKET.match(line):
            yield socket[1], int(socket[2]), line
        else:
            unread.note("a line of ss", f"{where}: {line}")


def _publications(bridges: Iterable[Bridge]) -> Publications:
    """Return the ports that are forwarded to the networks of the lab's bridges, not to Docker's."""
    networks = [ip_interface(address).network for bridge in bridges for address in bridge.addresses]
    saved = parse(run("iptables-save", "-c", "-t", "nat"))
    ruleset = json.loads(run("nft", "-j", "list", "ruleset")).get("nftables", [])
    found = publications(saved, ruleset, networks)
    if all(network.version != 6 for network in networks):  # noqa: PLR2004 - IPv6
        return found
    more = publications(parse(run("ip6tables-save", "-c", "-t", "nat")), (), networks, "ip6tables")
    return Publications(found.ports + more.ports, found.others + more.others)
