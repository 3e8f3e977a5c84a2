"""The API gateway: the one way to the product and order services."""

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from cnet_service.app import create_service_app
from cnet_service.discovery import Watch
from flask import Flask, Response, g, request
from instance import Answer
from upstreams import UNAVAILABLE, Upstream

DOCUMENT = Path(__file__).with_name("openapi.json")


def create_app(config: Mapping[str, str] | None = None) -> Flask:
    """Return the application; `config` stands in for the environment.

    Instances come from SERVICE_REGISTRY; without it from PRODUCT_SERVICE_URLS and ORDER_SERVICE.
    """
    settings = os.environ if config is None else config
    # A product is answered from memory; an order may wait for a lock in the database, as its service lets it.
    products = Upstream("product-service", try_seconds=0.5, seconds=1.5, tries=3)
    orders = Upstream("order-service", try_seconds=3.0, seconds=4.0, tries=2)
    checks = {
        "product-service": lambda: products.ask("GET", "/health", {}).status == 200,  # noqa: PLR2004  OK
        "order-service": lambda: orders.ask("GET", "/health", {}).status == 200,  # noqa: PLR2004  OK
    }
    app = create_service_app("api-gateway", settings.get("INSTANCE_ID", "api-gateway"), DOCUMENT, checks)
    for upstream, urls in ((products, "PRODUCT_SERVICE_URLS"), (orders, "ORDER_SERVICE")):
        find_instances(upstream, settings, settings.get(urls, ""))

    @app.get("/api/products")
    def list_products() -> Response:
        return passed_on(products.ask("GET", "/products", request_headers()))

    @app.get("/api/products/<product_id>")
    def show_product(product_id: str) -> Response:
        return passed_on(products.ask("GET", f"/products/{quote(product_id, safe='')}", request_headers()))

    @app.post("/api/orders")
    def create_order() -> Response:
        headers = request_headers() | {
            "Content-Type": request.headers.get("Content-Type", ""),
            # A key of our own makes our own retry safe when the client has none.
            "Idempotency-Key": request.headers.get("Idempotency-Key", f"gateway-{uuid.uuid4()}"),
        }
        return passed_on(orders.ask("POST", "/orders", headers, request.get_data()))

    @app.get("/api/orders/<order_id>")
    def show_order(order_id: str) -> Response:
        return passed_on(orders.ask("GET", f"/orders/{quote(order_id, safe='')}", request_headers()))

    return app


def find_instances(upstream: Upstream, settings: Mapping[str, str], urls: str) -> None:
    """Have an upstream follow the registry, or use the URLs given; either way look after its instances."""
    registry = settings.get("SERVICE_REGISTRY")
    if registry:
        memory = Path(settings.get("STATE_DIR", ".")) / f"{upstream.name}.instances"
        Watch(registry, upstream.name, memory, upstream.update).begin()
    else:
        upstream.use_urls(urls)
    upstream.check_for_ever()


def request_headers() -> dict[str, str]:
    """Return what upstreams are told of the request: its id, nothing of the client's choosing."""
    return {"X-Request-ID": g.request_id}


def passed_on(answer: Answer) -> Response:
    """Return an upstream's answer as the gateway's own; the access log names where it came from."""
    g.note = f"Routing request to: {answer.url}"
    g.fields = {"upstream": answer.instance}
    response = Response(answer.body, answer.status, dict(answer.headers), mimetype="application/json")
    if answer.status == UNAVAILABLE:
        response.headers.setdefault("Retry-After", "1")
    return response
