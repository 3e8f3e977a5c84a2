"""The needs of each program, from services/PROGRAM/service.toml, and the environment of each node that runs one.

worker_class, workers   gunicorn's; cnet_service.gunicorn_settings reads them
needs                   the programs without which it does not become ready
ready                   the path that answers 200 when it is ready; without one it is ready when its port is open
secrets                 the passwords in its environment (scripts/lib/passwords.sh)
[environment]           always set; [with_registry], [without_registry]: if the table has a service-registry or not

A service that gets SERVICE_REGISTRY registers itself, and its addresses may change without a restart. One that gets
HEARTBEAT renews a configured lease. A value may have the placeholders of the three functions
`_*_placeholders`; an empty value is not set. A file that is not valid raises TopologyError, with its name.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from lab.topology import ROOT, Node, Topology, TopologyError

REGISTRY = "service-registry"
_LEASE_SECONDS = 3
_DNS = "53/udp"


@dataclass(frozen=True)
class Program:
    """A service.toml."""

    worker_class: str = ""
    workers: int = 1
    needs: Sequence[str] = ()
    ready: str = ""
    secrets: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    with_registry: dict[str, str] = field(default_factory=dict)
    without_registry: dict[str, str] = field(default_factory=dict)

    @property
    def registers(self) -> bool:
        """Return whether the service registers itself; other services are in the registry's configuration."""
        return "SERVICE_REGISTRY" in self.with_registry


def read_programs(topology: Topology) -> dict[str, Program]:
    """Return the programs of a table by name. Raises TopologyError for a service.toml that is not valid."""
    programs = {}
    for name in sorted({node.runs for node in topology.nodes if node.runs}):
        try:
            programs[name] = Program(**tomllib.loads(_file(name).read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise TopologyError(f"{_file(name)}: {error}") from error
    return programs


def _file(program: str) -> Path:
    return ROOT / "services" / program / "service.toml"


def registered_name(node: Node, programs: dict[str, Program]) -> str:
    """Return a node's name in the registry and in DNS: its program's if that registers itself, else its own."""
    program = node.runs or ""
    return program if programs[program].registers else node.label


def _renews_lease(node: Node, programs: dict[str, Program]) -> bool:
    """Return whether a node renews a lease because the registry cannot connect to it."""
    return "HEARTBEAT" in programs[node.runs or ""].with_registry


def environments(topology: Topology, programs: dict[str, Program]) -> dict[str, dict[str, str]]:
    """Return the environment of each node that runs a program; the values are text without quotes."""
    known = [file.parent.name for file in (ROOT / "services").glob("*/service.toml")]
    places = {name: _program_placeholders(topology, name) for name in known} | {
        "lab": _lab_placeholders(topology, programs)
    }
    return {
        node.name: _environment(node, programs[node.runs], places | {"node": _node_placeholders(node)})
        for node in topology.nodes
        if node.runs
    }


def _environment(node: Node, program: Program, places: dict[str, SimpleNamespace]) -> dict[str, str]:
    has_registry = bool(places[REGISTRY].address)
    settings = program.environment | (program.with_registry if has_registry else program.without_registry)
    try:
        filled = {name: value.format_map(places) for name, value in settings.items()}
    except (ValueError, LookupError, AttributeError) as error:
        raise TopologyError(f"{_file(str(node.runs))}: no such placeholder: {error}") from error
    filled["SECRETS"] = " ".join(program.secrets)
    return {
        "INSTANCE_ID": node.name,
        "SERVICE_NAME": str(node.runs),
        "SERVICE_IP": str(node.address.ip),
        **({"SERVICE_IP6": _ip6(node)} if _ip6(node) else {}),
        "SERVICE_PORT": _port(node),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        **{name: value for name, value in filled.items() if value},
    }


def _program_placeholders(topology: Topology, program: str) -> SimpleNamespace:
    """Return the placeholders {PROGRAM.*}: of the first node `address`, `ip6`, `port` and `url`, the others are lists.

    `addresses` and `networks` have both families, the other lists IPv4.
    """
    nodes = topology.nodes_running(program)
    places = [_place(node) for node in nodes]
    return SimpleNamespace(
        address="".join(str(node.address.ip) for node in nodes[:1]),
        ip6="".join(map(_ip6, nodes[:1])),
        addresses=",".join(str(address.ip) for node in nodes for address in node.addresses),
        port="".join(map(_port, nodes[:1])),
        places=",".join(places),
        url="".join(f"http://{place}" for place in places[:1]),
        urls=",".join(f"http://{place}" for place in places),
        networks=",".join(sorted({str(address.network) for node in nodes for address in node.addresses})),
    )


def _lab_placeholders(topology: Topology, programs: dict[str, Program]) -> SimpleNamespace:
    """Return the placeholders {lab.*}; `configured` lists the services that do not register themselves."""
    nodes = [node for node in topology.nodes if node.runs and not programs[node.runs].registers]
    configured = [
        f"{node.label}={_place(node)}{f'/{_LEASE_SECONDS}' if _renews_lease(node, programs) else ''}"
        for node in nodes
    ]
    addresses = [address for bridge in topology.bridges for address in bridge.addresses]
    return SimpleNamespace(
        configured=",".join(configured),
        configured_ip6=",".join(f"{node.label}={_ip6(node)}" for node in nodes if _ip6(node)),
        gateways=",".join(str(address.ip) for address in addresses),
        networks=",".join(str(address.network) for address in addresses),
    )


def _node_placeholders(node: Node) -> SimpleNamespace:
    """Return the placeholders {node.*}."""
    answers_dns = any(str(listener) == _DNS for listener in node.listens)
    return SimpleNamespace(label=node.label, dns_port=_DNS.partition("/")[0] if answers_dns else "")


def _place(node: Node) -> str:
    return f"{node.host}:{_port(node)}"


def _ip6(node: Node) -> str:
    """Return a node's IPv6 address if it also has an IPv4 address; else an empty text."""
    return str(node.second_address.ip) if node.second_address else ""


def _port(node: Node) -> str:
    return str(node.listens[0].port) if node.listens else "-"
