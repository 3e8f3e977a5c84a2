"""The API gateway: the one way to the product and order services."""

import os
import uuid
from collections.abc import Mapping
from urllib.parse import quote

from flask import Flask, Response, g, request
from upstreams import Answer, Upstream
from web import create_web_app

# A request that waits for a lock in the database is given the time the order service gives it.
ORDER_READ_SECONDS = 3.0


def create_app(config: Mapping[str, str] | None = None) -> Flask:
    """Return the application; `config` stands in for the environment."""
    settings = os.environ if config is None else config
    products = Upstream("product service", settings.get("PRODUCT_SERVICE_URLS", ""))
    orders = Upstream("order service", settings.get("ORDER_SERVICE", ""), ORDER_READ_SECONDS)
    checks = {
        "product-service": lambda: products.ask("GET", "/health", {}).status == 200,  # noqa: PLR2004  OK
        "order-service": lambda: orders.ask("GET", "/health", {}).status == 200,  # noqa: PLR2004  OK
    }
    app = create_web_app("api-gateway", settings.get("INSTANCE_ID", "api-gateway"), checks)

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
        return passed_on(orders.ask("POST", "/orders", headers, request.get_data(), tries=2))

    @app.get("/api/orders/<order_id>")
    def show_order(order_id: str) -> Response:
        return passed_on(orders.ask("GET", f"/orders/{quote(order_id, safe='')}", request_headers(), tries=2))

    return app


def request_headers() -> dict[str, str]:
    """Return what upstreams are told of the request: its id, nothing of the client's choosing."""
    return {"X-Request-ID": g.request_id}


def passed_on(answer: Answer) -> Response:
    """Return an upstream's answer as the gateway's own; the access log names where it came from."""
    g.note = f"Routing request to: {answer.url}"
    return Response(answer.body, answer.status, dict(answer.headers), mimetype="application/json")
