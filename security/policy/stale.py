"""Connections that were allowed once and are not any more.

An established connection is not judged again. So when a policy comes into force, what it denies is forgotten,
and the next packet is judged as a new one.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator

from lab.conntrack import Connection
from security.policy.model import ACCEPT, HOST, WORLD, Policy


def stale(policy: Policy, known: Iterable[Connection], of_host: set[str]) -> Iterator[Connection]:
    """Give those that the policy would not let begin."""
    for connection in known:
        source = _who(policy, connection.original.source, of_host)
        destination = _who(policy, connection.reply.source, of_host)
        if {source, destination} <= {HOST, WORLD}:
            continue
        direct = source == WORLD and connection.original.destination == connection.reply.source
        port = connection.reply.source_port
        if direct or policy.decide(source, destination, connection.protocol, port).verdict != ACCEPT:
            yield connection


def _who(policy: Policy, address: str, of_host: set[str]) -> str:
    node = policy.topology.node_at(address)
    return node.name if node else HOST if address in of_host else WORLD


def as_arguments(connection: Connection) -> str:
    """Say which connection it is as `conntrack -D` wants it."""
    sent = connection.original
    ports = f" --sport {sent.source_port} --dport {sent.destination_port}" if sent.source_port else ""
    return f"-p {connection.protocol} -s {sent.source} -d {sent.destination}{ports}"


def addresses_of_host() -> set[str]:
    """Give every IPv4 address of this network namespace."""
    shown = subprocess.run(["ip", "-j", "-4", "addr"], capture_output=True, check=True).stdout
    return {address["local"] for link in json.loads(shown) for address in link["addr_info"]}
