"""What explain is asked: FROM, TO and PORT as people write them, and its options."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from lab.topology import Node, Topology
from security.explain.result import Flow
from security.policy.model import HOST, WORLD

LAST_PORT = 65535
EXAMPLE = "sudo make explain FROM=redis-cache TO=postgres-db PORT=5432"


class UsageError(Exception):
    """Something that cannot be asked, and how to ask it."""


@dataclass(frozen=True)
class Options:
    """What is asked, and how it is to be told."""

    flow: Flow
    static: bool
    state: Path | None
    save: Path | None
    json: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say it in the words of make."""
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
    found = parser.parse_args(arguments)
    flow = Flow("", "", found.protocol, 0)
    if found.save is None:
        flow = _Reader(topology).flow(found.source, found.destination, found.protocol, found.port)
    return Options(flow, found.static, found.state, found.save, found.json)


class _Reader:
    def __init__(self, topology: Topology) -> None:
        self.topology = topology

    def flow(self, source: str, destination: str, protocol: str, port: str) -> Flow:
        begin, end = self.place("FROM", source), self.place("TO", destination)
        if begin in (HOST, WORLD) and end == WORLD:
            raise UsageError(f"FROM={begin} TO=world: nothing between them passes through the lab")
        if begin == end != HOST:
            raise UsageError(f"FROM={begin} TO={end}: what a node sends to itself meets no rule of the lab")
        return Flow(begin, end, protocol, 0 if protocol == "icmp" else self.port(port, end, protocol))

    def place(self, variable: str, text: str) -> str:
        """Find a node by its name, address, namespace or program; or host, or world."""
        if not text:
            raise UsageError(f"{variable} is not given; for example: {EXAMPLE}")
        name = text.removesuffix(".lab")
        bridges = {word for bridge in self.topology.bridges for word in (bridge.name, str(bridge.address.ip))}
        if name in (HOST, WORLD):
            return name
        if name in bridges or name in ("localhost", "127.0.0.1"):
            return HOST
        found = self.node(name)
        if found is None:
            known = " ".join([node.name for node in self.topology.nodes] + [HOST, WORLD])
            raise UsageError(
                f"{variable}={text} is not a node, address or program of the lab; there are: {known}"
            )
        return found.name

    def node(self, name: str) -> Node | None:
        """Find a node; of several that run a program or share a namespace the first."""
        running = self.topology.nodes_running(name)
        of_namespace = next((node for node in self.topology.nodes if node.namespace == name), None)
        found = self.topology.node(name) or self.topology.node_at(name) or of_namespace
        return found or (running[0] if running else None)

    def port(self, text: str, end: str, protocol: str) -> int:
        """Read a port: a number, the name of a node or program that listens on one, or a name of /etc/services."""
        if not text:
            raise UsageError(f"PORT is not given (a ping takes none: OPTIONS=--icmp); for example: {EXAMPLE}")
        if text.isascii() and text.isdecimal():
            if 1 <= int(text[:6]) <= LAST_PORT:
                return int(text)
            raise UsageError(f"PORT={text[:40]} is not a port from 1 to {LAST_PORT}")
        node = self.node(text.removesuffix(".lab"))
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
