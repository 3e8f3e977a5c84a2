"""The API gateway: forwards requests to the product and order services."""

import os
import uuid
from collections.abc import Mapping
from urllib.parse import quote

from cnet_service.app import create_service_app
from cnet_service.description import DescribedApp, Responses
from cnet_service.discovery import follow
from cnet_service.models import (
    Error,
    NewOrder,
    Order,
    OrderCreated,
    OrderHeader,
    OrderPath,
    Product,
    ProductPath,
    Products,
    Unavailable,
)
from flask import Flask, Response, g, request
from instance import Answer
from upstreams import OK, UNAVAILABLE, Upstream

CREATE: Responses = {201: OrderCreated, 400: Error, 409: Error, 413: Error, 503: Unavailable}
LIST_PRODUCTS: Responses = {200: Products, 503: Unavailable}
SHOW_PRODUCT: Responses = {200: Product, 404: Error, 503: Unavailable}
SHOW_ORDER: Responses = {200: Order, 404: Error, 503: Unavailable}


def create_app(config: Mapping[str, str] | None = None) -> Flask:
    """Return the application; `config` replaces the environment.

    Instances come from SERVICE_REGISTRY; without it from PRODUCT_SERVICE_URLS and ORDER_SERVICE.
    """
    settings = os.environ if config is None else config
    # Products are answered from memory; an order may wait for a lock in the database.
    products = Upstream("product-service", try_seconds=0.5, seconds=1.5, tries=3)
    orders = Upstream("order-service", try_seconds=3.0, seconds=4.0, tries=2)
    checks = {
        "product-service": lambda: products.ask("GET", "/health", {}).status == OK,
        "order-service": lambda: orders.ask("GET", "/health", {}).status == OK,
    }
    instance = settings.get("INSTANCE_ID", "api-gateway")
    app = create_service_app("api-gateway", instance, "Forwards requests to products and orders.", checks)
    for upstream, urls in ((products, "PRODUCT_SERVICE_URLS"), (orders, "ORDER_SERVICE")):
        follow(settings, upstream.name, urls, upstream.update)
        upstream.check_for_ever()
    add_products(app, products)
    add_orders(app, orders)
    return app


def add_products(app: DescribedApp, products: Upstream) -> None:
    """Serve the catalogue. Forward answers unchanged, because the gateway needs no field of them."""

    @app.get("/api/products", summary="The catalogue", responses=LIST_PRODUCTS)
    def list_products() -> Response:
        return pass_on(products.ask("GET", "/products", request_headers()))

    @app.get("/api/products/<product_id>", summary="One product", responses=SHOW_PRODUCT)
    def show_product(path: ProductPath) -> Response:
        return pass_on(products.ask("GET", f"/products/{quote(path.product_id, safe='')}", request_headers()))


def add_orders(app: DescribedApp, orders: Upstream) -> None:
    """Serve orders. A new order is validated here and forwarded unchanged."""

    @app.post("/api/orders", summary="Order, exactly once for each Idempotency-Key", responses=CREATE)
    def create_order(header: OrderHeader, body: NewOrder) -> Response:
        headers = request_headers() | {
            "Content-Type": request.headers.get("Content-Type", ""),
            # Without a key from the client, the gateway adds one, so that its own retry is safe.
            "Idempotency-Key": header.key or f"gateway-{uuid.uuid4()}",
        }
        return pass_on(orders.ask("POST", "/orders", headers, request.get_data()))

    @app.get("/api/orders/<order_id>", summary="One order", responses=SHOW_ORDER)
    def show_order(path: OrderPath) -> Response:
        return pass_on(orders.ask("GET", f"/orders/{quote(path.order_id, safe='')}", request_headers()))


def request_headers() -> dict[str, str]:
    """Return the headers for an upstream: only the request's id; the client's headers are not forwarded."""
    return {"X-Request-ID": g.request_id}


def pass_on(answer: Answer) -> Response:
    """Return an upstream's answer as the gateway's own; the access log names the instance."""
    g.note = f"Routing request to: {answer.url}"
    g.fields = {"upstream": answer.instance}
    response = Response(answer.body, answer.status, dict(answer.headers), mimetype="application/json")
    if answer.status == UNAVAILABLE:
        response.headers.setdefault("Retry-After", "1")
    return response
