"""Read the command line of explain: FROM, TO, PORT and the options."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lab.topology import Node, Topology
from security.policy.model import HOST, LAST_PORT, WORLD, Flow

EXAMPLE = "sudo make explain FROM=redis-cache TO=postgres-db PORT=5432"


class UsageError(Exception):
    """The command line is not valid; the message has an example of a valid one."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report an error with an example for make."""
        raise UsageError(f"{message}; for example: {EXAMPLE}")


def read_options(arguments: Sequence[str], topology: Topology) -> argparse.Namespace:
    """Read the command line: `flow`, unless there is `save`, and the options. Raises UsageError."""
    parser = _Parser(prog="explain", add_help=False)
    for name in ("source", "destination", "port"):
        parser.add_argument(name, nargs="?", default="")
    for protocol in ("udp", "icmp"):
        parser.add_argument(
            f"--{protocol}", dest="protocol", action="store_const", const=protocol, default="tcp"
        )
    for option in ("--static", "--json", "--6"):
        parser.add_argument(option, action="store_true")
    for option in ("--state", "--save"):
        parser.add_argument(option, type=Path)
    options = parser.parse_args(arguments)
    if options.save is None:
        options.flow = _read_flow(topology, options)
        options.ipv6 = vars(options)["6"] or ":" in f"{options.source}{options.destination}"
        if options.ipv6:
            _check_ipv6(topology, options)
    return options


def _check_ipv6(topology: Topology, options: argparse.Namespace) -> None:
    """Refuse what cannot be explained in IPv6. Raises UsageError."""
    if options.static or options.state:
        raise UsageError(
            "the rules of IPv6 are not simulated: leave out --static and --state, so a probe is sent"
        )
    if options.protocol == "udp":
        raise UsageError("in IPv6 the probe is a TCP connection, or a ping (OPTIONS='--6 --icmp')")
    for name in options.flow.ends:
        node = topology.node(name)
        if name == WORLD or options.flow.ends == (HOST, HOST):
            raise UsageError("in IPv6 both ends are nodes, or one end is the host")
        if node and not node.address6:
            raise UsageError(f"{name} has no IPv6 address in {topology.path} (column address6)")


def _read_flow(topology: Topology, options: argparse.Namespace) -> Flow:
    begin = _read_place(topology, "FROM", options.source)
    end = _read_place(topology, "TO", options.destination)
    if begin in (HOST, WORLD) and end == WORLD:
        raise UsageError(f"FROM={begin} TO=world: this traffic does not pass through the lab")
    if begin == end != HOST:
        raise UsageError(f"FROM={begin} TO={end}: traffic from a node to itself passes no rule of the lab")
    port = 0 if options.protocol == "icmp" else _read_port(topology, options.port, end, options.protocol)
    return Flow(begin, end, options.protocol, port)


def _read_place(topology: Topology, variable: str, text: str) -> str:
    """Find a node by its name, address, namespace or program; or host, or world."""
    if not text:
        raise UsageError(f"{variable} is not given; for example: {EXAMPLE}")
    name = text.removesuffix(".lab")
    of_host = {bridge.name for bridge in topology.bridges}
    of_host |= {str(address.ip) for bridge in topology.bridges for address in bridge.addresses}
    if name in (HOST, WORLD):
        return name
    if name in (*of_host, "localhost", "127.0.0.1", "::1"):
        return HOST
    if node := _find_node(topology, name):
        return node.name
    known = " ".join([*(node.name for node in topology.nodes), HOST, WORLD])
    raise UsageError(f"{variable}={text} is not a node, address or program of the lab; known: {known}")


def _find_node(topology: Topology, name: str) -> Node | None:
    """Find a node by name, address, namespace or program; the first one if several match."""
    node = topology.node(name) or topology.node_at(name) or topology.node_in(name)
    return node or next(iter(topology.nodes_running(name)), None)


def _read_port(topology: Topology, text: str, end: str, protocol: str) -> int:
    """Read a port: a number, the name of a node or program that listens on one, or a name of /etc/services."""
    if not text:
        raise UsageError(f"PORT is not given (a ping has no port: OPTIONS=--icmp); for example: {EXAMPLE}")
    if text.isascii() and text.isdecimal():
        if 1 <= int(text[:6]) <= LAST_PORT:
            return int(text)
        raise UsageError(f"PORT={text[:40]} is not a port from 1 to {LAST_PORT}")
    node = _find_node(topology, text.removesuffix(".lab"))
    for listener in node.listens if node else ():
        if listener.protocol == protocol:
            return listener.port
    try:
        return socket.getservbyname(text, protocol)
    except (OSError, UnicodeError):
        to = topology.node(end)
        there = f"; {end} listens on {', '.join(map(str, to.listens))}" if to and to.listens else ""
        raise UsageError(
            f"PORT={text} is neither a port from 1 to {LAST_PORT} nor a service with a port{there}"
        ) from None
