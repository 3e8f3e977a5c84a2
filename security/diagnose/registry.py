"""Findings in the registry's entries: an instance that is missing, at another address, or not in the table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from lab.services import registered_name
from lab.topology import Node
from security.diagnose.finding import Evidence, Finding, Kind
from security.diagnose.observed import Observed
from security.diagnose.programs import Reply, ask_http


def check_registry(seen: Observed, registry: Node) -> Iterator[Finding]:
    """Yield each service whose entries differ from the table although its programs are ready."""
    place = str(registry.address.ip), registry.listens[0].port
    listed = _entries(ask_http(*place, "/services")) if seen.program_states.is_ready(registry) else None
    if listed is None:
        return
    for service, nodes in _services(seen).items():
        ready = [node for node in nodes if seen.program_states.is_ready(node)]
        entries = listed.get(service, {})
        wrong = [
            node for node in ready if entries.get(node.label) != (str(node.address.ip), node.listens[0].port)
        ]
        unknown = sorted(entries.keys() - {node.label for node in nodes})
        if wrong:
            what = _what_is_wrong(seen, wrong[0], entries)
            yield _registry_entry(registry, service, what, entries, "sudo scripts/services.sh up")
        elif unknown:
            what = f"lists {unknown[0]}, which the table does not have"
            remove = f"curl -X DELETE http://{place[0]}:{place[1]}/deregister/{service}/{unknown[0]}"
            yield _registry_entry(registry, service, what, entries, remove)


def _what_is_wrong(seen: Observed, node: Node, entries: Mapping[str, tuple[str, int]]) -> str:
    if has := entries.get(node.label):
        return f"lists {node.name} at {has[0]}:{has[1]}, not at {node.address.ip}:{node.listens[0].port}"
    said = seen.last_error(node)
    refused = f"; {node.name} says: {said}" if "refuses" in said else ""
    return f"does not list {node.name}, which is ready{refused}"


def _services(seen: Observed) -> Mapping[str, list[Node]]:
    """Return the nodes of each service that the registry lists: by their program, or by their name."""
    found: dict[str, list[Node]] = defaultdict(list)
    for node in seen.topology.nodes:
        if node.runs:
            found[registered_name(node, seen.programs)].append(node)
    return found


def _entries(reply: Reply) -> dict[str, dict[str, tuple[str, int]]] | None:
    """Return the address and port of each instance of each service; None if the registry gives no list."""
    services: Any = reply.json
    if not isinstance(services, dict):
        return None
    return {
        name: {str(row["instance_id"]): (str(row["ip"]), int(row["port"])) for row in rows}
        for name, rows in services.items()
    }


def _registry_entry(
    registry: Node, service: str, what: str, listed: Mapping[str, tuple[str, int]], repair: str
) -> Finding:
    url = f"http://{registry.host}:{registry.listens[0].port}"
    return Finding(
        kind=Kind.REGISTRY_ENTRY,
        object=service,
        place=registry.name,
        cause=f"{registry.name} {what}",
        breaks=f"clients of {service} miss an instance, or are sent to a wrong address",
        repair=(repair,),
        evidence=(Evidence(command=f"curl {url}/services", line=f"{service}: {dict(listed)}"),),
    )
