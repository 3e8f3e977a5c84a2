"""Further checks in the lab: discovery, registration, names."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from lab.services import read_programs, registered_name
from lab.topology import ROOT, Node, Topology, bracketed
from lab.verify.platform import Endpoints, Result
from lab.verify.request import matches, send

_REGISTRATION_SECONDS = 5.0  # a service registers within a second after its start
_CONNECTION_SECONDS = 2.0
_SUPERVISOR = Path("/run/cnet/supervisord.conf")  # exists while services are meant to run


class LabEndpoints(Endpoints):
    """The checks of the lab, from the host and from its nodes."""

    def __init__(self, topology: Topology) -> None:
        super().__init__(topology)
        self._table = topology
        self._nodes = topology.nodes
        self._services = [node for node in topology.nodes if node.runs]
        self._programs = read_programs(topology)

    def check(self) -> Iterator[Result]:
        """Check each service, each registry, all names, and the platform through its published port."""
        yield "title", "Each service's own endpoints"
        for node in self._services:
            if self._programs[node.runs or ""].ready == "/ready":
                yield from self.check_service_endpoints(node.name, _url(node))
        yield from self._answers_in_ipv6()
        registries = self._nodes_running("service-registry")
        for registry in registries:
            yield "title", f"Discovery: {registry.name}"
            yield from self._discovery(_url(registry))
        resolver = next(
            (node for node in registries if any(str(port) == "53/udp" for port in node.listens)), None
        )
        if resolver:
            yield "title", f"Names: each namespace uses the DNS at {resolver.address.ip}"
            yield from self._names((self._nodes_running("product-service") or registries)[0])
        for nginx in self._nodes_running("nginx")[:1]:
            for publication in nginx.publishes[:1]:
                base = f"http://{self._table.entry_host(nginx)}:{publication.host_port}"
                yield "title", f"The platform at {base}"
                yield from self.check_published_port(base)

    def _answers_in_ipv6(self) -> Iterator[Result]:
        """Check each service that has an IPv6 address: /health of one that has it, else whether its port is open."""
        nodes = [node for node in self._services if node.second_address]
        if nodes:
            yield "title", "Each service answers in IPv6, too"
        for node in nodes:
            address, port = str(node.second_address.ip if node.second_address else ""), node.listens[0].port
            place = f"{bracketed(address)}:{port}"
            if self._programs[node.runs or ""].ready == "/ready":
                url = f"http://{place}/health"
                yield from self.expect(f"{node.name} GET /health", url, 200, {"status": "healthy"})
            elif _accepts(address, port):
                yield "passed", f"{node.name} accepts connections", place
            else:
                yield "failed", f"{node.name} accepts connections", f"{place} accepts no connection"

    def _nodes_running(self, program: str) -> list[Node]:
        return [node for node in self._services if node.runs == program]

    def _discovery(self, base: str) -> Iterator[Result]:
        self._wait_until_all_pass(base)
        for node in self._services:
            instance = {"instance_id": node.label, "health": "passing", "ip": str(node.address.ip)}
            if node.second_address:
                instance["ip6"] = str(node.second_address.ip)
            url = f"{base}/discover/{registered_name(node, self._programs)}?all=1"
            yield from self.expect(f"{node.name} is registered and passing", url, 200, [instance])
        for product in self._nodes_running("product-service")[:1]:
            yield from self._registration(base, product)
            self._wait_until_all_pass(base)  # the instance registers again with the next heartbeat
            title = f"{product.name} registered again by itself"
            url = f"{base}/discover/product-service?all=1"
            yield from self.expect(title, url, 200, [{"instance_id": product.label}])
            unknown = {"error": "Service not found"}
            yield from self.expect(
                "GET /discover of an unknown name", f"{base}/discover/nobody", 404, unknown
            )

    def _registration(self, base: str, product: Node) -> Iterator[Result]:
        """Check that an instance can register only itself, by requests from the instance's node."""
        url = f"{base}/register"
        body: dict[str, Any] = {
            "name": "verify",
            "ip": str(product.address.ip),
            "port": product.listens[0].port,
        }
        title = "POST /register of another node's address is refused"
        yield from self.expect(title, url, 403, {"field": "ip"}, json=body)
        title = "POST /register under another name is refused"
        yield from self.expect(title, url, 403, {"error": str}, node=product, json=body)
        body |= {"name": "product-service", "instance_id": product.label, "ttl": 3}
        for title, path, expected, options in (
            (
                "POST /register",
                "register",
                {"status": "registered", "service": "product-service"},
                {"json": body},
            ),
            ("GET /services", "services", {"product-service": list}, {}),
            ("GET /discover/product-service", "discover/product-service", {"health": "passing"}, {}),
            (
                "DELETE /deregister",
                f"deregister/product-service/{product.label}",
                {"status": "deregistered"},
                {"method": "DELETE"},
            ),
        ):
            yield from self.expect(title, f"{base}/{path}", 200, expected, node=product, **options)

    def _wait_until_all_pass(self, base: str) -> None:
        deadline = time.monotonic() + _REGISTRATION_SECONDS
        while time.monotonic() < deadline:
            services = send(f"{base}/services", seconds=2).json
            instances = (
                [one for service in services.values() for one in service]
                if isinstance(services, dict)
                else []
            )
            if sum(matches({"health": "passing"}, one) for one in instances) >= len(self._services):
                return
            time.sleep(0.05)

    def _names(self, named: Node) -> Iterator[Result]:
        """Resolve a node's registered name from each node, in the node's families; it may have several addresses."""
        name = registered_name(named, self._programs)
        addresses = [
            address.ip
            for node in self._services
            if registered_name(node, self._programs) == name
            for address in node.addresses
        ]
        for version, asking in (
            (version, [node for node in self._nodes if node.address_of(version)]) for version in (4, 6)
        ):
            wanted = " ".join(sorted(str(address) for address in addresses if address.version == version))
            if not wanted:
                continue
            with ThreadPoolExecutor(4) as pool:
                answers = pool.map(partial(_resolve, name=f"{name}.lab", version=version), asking)
            for node, found in zip(asking, answers, strict=True):
                if found == wanted:
                    yield "passed", node.name, f"{name}.lab is {found}"
                else:
                    result = f"is {found}" if found else "does not resolve"
                    yield "failed", node.name, f"{name}.lab {result}, wanted {wanted}"
        if _resolve(self._nodes[-1], "nowhere.lab"):
            yield "failed", "nowhere.lab does not resolve", "it resolves, but no such name exists"
        else:
            yield "passed", "nowhere.lab does not resolve"


def _url(node: Node) -> str:
    return f"http://{node.host}:{node.listens[0].port}"


def _accepts(address: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((address, port), _CONNECTION_SECONDS):
        return True
    return False


def _resolve(node: Node, name: str, version: int = 4) -> str:
    """Resolve as the node's program does: in its container, as its user; return the addresses, sorted.

    Without a program, `ip netns exec` mounts the namespace's own resolv.conf.
    """
    inside = ["ip", "netns", "exec", node.namespace]
    if node.runs and _SUPERVISOR.exists():
        inside = [f"{ROOT}/scripts/contain.sh", "exec", node.name]
    command = ["timeout", "10", *inside, "getent", f"ahostsv{version}", name]
    output = subprocess.run(
        command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=False
    ).stdout
    return " ".join(sorted(line.split()[0] for line in output.splitlines() if " STREAM" in line))
