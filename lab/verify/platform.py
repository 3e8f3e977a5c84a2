"""Checks of the platform on any engine: its endpoints, products, orders."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from lab.escape import shortened
from lab.topology import Node, Topology
from lab.verify.request import ItemCount, matches, send

Result = tuple[str, ...]  # a word, a text and for some a detail: see __main__.py

_SHOWN = 60  # characters of an answer
_ORDER = {"customer_id": "verify", "product_id": "2", "quantity": 3, "total_price": 89.97}


class Endpoints:
    """The checks of a platform; each yields results, with a topology also a command that explains a missing answer."""

    def __init__(self, topology: Topology | None = None) -> None:
        self._topology = topology

    def expect(
        self, title: str, url: str, status: int, expected: Any, node: Node | None = None, **options: Any
    ) -> Iterator[Result]:
        """Check the status of an answer, and its JSON by request.matches()."""
        answer = send(url, node=node, **options)
        if answer.status == status and answer.json is not None and matches(expected, answer.json):
            beginning = shortened(answer.text.replace("\n", ""), _SHOWN)
            yield "passed", title, f"{status}  {beginning}"
            return
        yield "failed", title, f"expected {status} and {expected}, got {answer}"
        if answer.status is None and self._topology:
            yield "why", _flow(self._topology, url, node)

    def check_service_endpoints(self, name: str, base: str) -> Iterator[Result]:
        """Check the endpoints that each Flask service has."""
        yield from self.expect(f"{name} GET /health", f"{base}/health", 200, {"status": "healthy"})
        yield from self.expect(f"{name} GET /ready", f"{base}/ready", 200, {})
        if "# TYPE" in send(f"{base}/metrics").text:
            yield "passed", f"{name} GET /metrics"
        else:
            yield "failed", f"{name} GET /metrics", "no line with # TYPE"

    def check_published_port(self, base: str) -> Iterator[Result]:
        """Check nginx, GET /api/products and the orders through the published port."""
        if send(f"{base}/health").text.strip() == "OK":
            yield "passed", "nginx GET /health", "OK"
        else:
            yield "failed", "nginx GET /health", f"{base}/health does not answer OK"
        if self._topology is None or self._topology.nodes_running("product-service"):
            yield from self._products(base)
        if self._topology is None or self._topology.nodes_running("postgres"):
            yield from self._orders(f"{base}/api/orders")

    def _products(self, base: str) -> Iterator[Result]:
        for path, status, expected in (
            ("/api/products", 200, {"products": ItemCount(3), "instance": re.compile(".")}),
            ("/api/products/1", 200, {"name": "Laptop", "price": 999.99, "stock": 50}),
            ("/api/products/99", 404, {"error": "Product not found"}),
            ("/api/nowhere", 404, {"error": str}),
        ):
            yield from self.expect(f"GET {path}", base + path, status, expected)

    def _orders(self, url: str) -> Iterator[Result]:
        incomplete = {key: value for key, value in _ORDER.items() if key != "quantity"}
        title, error = "POST /api/orders without a quantity", {"error": re.compile("quantity")}
        yield from self.expect(title, url, 400, error, json=incomplete)
        yield from self.expect("GET /api/orders", url, 405, {"error": str})
        created = send(url, json=_ORDER).json
        if not matches({"status": "created", "order_id": int}, created):
            yield "failed", "POST /api/orders", "created no order"
            return
        number = created["order_id"]
        yield "passed", "POST /api/orders", f"order {number} created"
        yield from self.expect("GET /api/orders/NUMBER", f"{url}/{number}", 200, _ORDER)
        yield "stored", f"{number}"


def _flow(topology: Topology, url: str, node: Node | None) -> str:
    """Return the arguments of `make explain` for a request."""
    address = urlsplit(url)
    to = topology.node_at(address.hostname or "")
    return f"FROM={node.name if node else 'host'} TO={to.name if to else 'host'} PORT={address.port}"
