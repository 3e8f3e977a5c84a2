"""Read the command line of explain: FROM, TO, PORT and the options."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from lab.topology import Node, Topology
from security.policy.model import HOST, WORLD, Flow

LAST_PORT = 65535
EXAMPLE = "sudo make explain FROM=redis-cache TO=postgres-db PORT=5432"


class UsageError(Exception):
    """The command line is not valid; the message has an example of a valid one."""


@dataclass(frozen=True)
class Options:
    """The command line."""

    flow: Flow
    static: bool
    state: Path | None
    save: Path | None
    json: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report an error with an example for make."""
        raise UsageError(f"{message}; for example: {EXAMPLE}")


def read_options(arguments: Sequence[str], topology: Topology) -> Options:
    """Read the command line, or raise UsageError."""
    parser = _Parser(prog="explain", add_help=False)
    for name in ("source", "destination", "port"):
        parser.add_argument(name, nargs="?", default="")
    for protocol in ("udp", "icmp"):
        parser.add_argument(
            f"--{protocol}", dest="protocol", action="store_const", const=protocol, default="tcp"
        )
    parser.add_argument("--static", action="store_true")
    parser.add_argument("--state", type=Path)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    flow = Flow("", "", options.protocol, 0)
    if options.save is None:
        reader = _Reader(topology)
        flow = reader.read_flow(options.source, options.destination, options.protocol, options.port)
    return Options(flow, options.static, options.state, options.save, options.json)


class _Reader:
    def __init__(self, topology: Topology) -> None:
        self.topology = topology

    def read_flow(self, source: str, destination: str, protocol: str, port: str) -> Flow:
        begin, end = self.read_place("FROM", source), self.read_place("TO", destination)
        if begin in (HOST, WORLD) and end == WORLD:
            raise UsageError(f"FROM={begin} TO=world: this traffic does not pass through the lab")
        if begin == end != HOST:
            raise UsageError(
                f"FROM={begin} TO={end}: traffic from a node to itself passes no rule of the lab"
            )
        return Flow(begin, end, protocol, 0 if protocol == "icmp" else self.read_port(port, end, protocol))

    def read_place(self, variable: str, text: str) -> str:
        """Find a node by its name, address, namespace or program; or host, or world."""
        if not text:
            raise UsageError(f"{variable} is not given; for example: {EXAMPLE}")
        name = text.removesuffix(".lab")
        bridges = {word for bridge in self.topology.bridges for word in (bridge.name, str(bridge.address.ip))}
        if name in (HOST, WORLD):
            return name
        if name in bridges or name in ("localhost", "127.0.0.1"):
            return HOST
        node = self.find_node(name)
        if node is None:
            known = " ".join([node.name for node in self.topology.nodes] + [HOST, WORLD])
            raise UsageError(
                f"{variable}={text} is not a node, address or program of the lab; known: {known}"
            )
        return node.name

    def find_node(self, name: str) -> Node | None:
        """Find a node by name, address, namespace or program; the first one if several match."""
        running = self.topology.nodes_running(name)
        of_namespace = next((node for node in self.topology.nodes if node.namespace == name), None)
        node = self.topology.node(name) or self.topology.node_at(name) or of_namespace
        return node or (running[0] if running else None)

    def read_port(self, text: str, end: str, protocol: str) -> int:
        """Read a port: a number, the name of a node or program that listens on one, or a name of /etc/services."""
        if not text:
            raise UsageError(
                f"PORT is not given (a ping has no port: OPTIONS=--icmp); for example: {EXAMPLE}"
            )
        if text.isascii() and text.isdecimal():
            if 1 <= int(text[:6]) <= LAST_PORT:
                return int(text)
            raise UsageError(f"PORT={text[:40]} is not a port from 1 to {LAST_PORT}")
        node = self.find_node(text.removesuffix(".lab"))
        listening = [item.port for item in node.listens if item.protocol == protocol] if node else []
        if listening:
            return listening[0]
        try:
            return socket.getservbyname(text, protocol)
        except (OSError, UnicodeError):
            to = self.topology.node(end)
            there = f"; {end} listens on {', '.join(map(str, to.listens))}" if to and to.listens else ""
            raise UsageError(
                f"PORT={text} is neither a port from 1 to {LAST_PORT} nor a service with a port{there}"
            ) from None
