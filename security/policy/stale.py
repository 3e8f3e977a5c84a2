"""Find connections that were allowed before and are denied now.

Packets of an established connection are not checked again. So when a policy is loaded, the entries of connections
that it denies are deleted, and their next packet is checked as a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from lab.conntrack import Connection
from security.policy.model import HOST, WORLD, Policy

_IN_POLICY = {"icmpv6": "icmp"}  # one word of a policy means both


def stale_connections(
    policy: Policy, known: Iterable[Connection], host_addresses: set[str]
) -> Iterator[Connection]:
    """Return the connections that the policy denies."""
    for connection in known:
        source = _name_of(policy, connection.original.source, host_addresses)
        destination = _name_of(policy, connection.reply.source, host_addresses)
        if {source, destination} <= {HOST, WORLD}:
            continue
        direct = source == WORLD and connection.original.destination == connection.reply.source
        port = connection.reply.source_port
        protocol = _IN_POLICY.get(connection.protocol, connection.protocol)
        if direct or not policy.allows(source, destination, protocol, port):
            yield connection


def _name_of(policy: Policy, address: str, host_addresses: set[str]) -> str:
    node = policy.topology.node_at(address)
    return node.name if node else HOST if address in host_addresses else WORLD


def as_arguments(connection: Connection) -> str:
    """Return the arguments of `conntrack -D` for this connection."""
    sent = connection.original
    ports = f" --sport {sent.source_port} --dport {sent.destination_port}" if sent.source_port else ""
    family = f"-f ipv{ip_address(sent.source).version}"
    return f"{family} -p {connection.protocol} -s {sent.source} -d {sent.destination}{ports}"
