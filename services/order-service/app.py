"""The order service: orders in PostgreSQL, each answered 201 exactly once there."""

import os
from collections.abc import Mapping
from pathlib import Path

from cnet_service.app import create_service_app
from cnet_service.body import read_json_object
from cnet_service.discovery import Listed, Watch
from cnet_service.errors import InvalidError, error_response
from database import Database
from flask import Flask, Response, request
from orders import Conflict, create_order, find_order, read_key, read_order
from products import Products

DOCUMENT = Path(__file__).with_name("openapi.json")


def create_app(config: Mapping[str, str] | None = None) -> Flask:
    """Return the application; `config` stands in for the environment."""
    settings = os.environ if config is None else config
    database = Database(
        settings.get("DB_HOST", "127.0.0.1"),
        int(settings.get("DB_PORT", "5432")),
        settings.get("DB_NAME", "orders"),
        settings.get("DB_USER", "orders"),
        settings.get("DB_PASSWORD", ""),
    )
    checks = {"postgres": lambda: database.run(lambda cursor: cursor.execute("SELECT 1 FROM orders LIMIT 1"))}
    app = create_service_app("order-service", settings.get("INSTANCE_ID", "order-service"), DOCUMENT, checks)
    products = find_products(settings)

    @app.post("/orders")
    def create() -> tuple[dict[str, object], int] | Response:
        key = read_key(request.headers.get("Idempotency-Key"))
        order = read_order(read_json_object())
        if products and not products.exists(order.product_id):
            raise InvalidError("product_id", "there is no such product")
        try:
            order_id = create_order(database, order, key)
        except Conflict:
            return error_response(409, "This Idempotency-Key was used for another order")
        return {"order_id": order_id, "status": "created"}, 201

    @app.get("/orders/<order_id>")
    def show(order_id: str) -> dict[str, object] | Response:
        return find_order(database, order_id) or error_response(404, "Order not found")

    return app


def find_products(settings: Mapping[str, str]) -> Products | None:
    """Return who knows the products: instances of the registry, else the URLs given; None with neither."""
    registry = settings.get("SERVICE_REGISTRY")
    urls = [url.strip() for url in settings.get("PRODUCT_SERVICE_URLS", "").split(",") if url.strip()]
    if not registry and not urls:
        return None
    products = Products()
    products.update(Listed(url, url, passing=True) for url in urls)
    if registry:
        memory = Path(settings.get("STATE_DIR", ".")) / "product-service.instances"
        Watch(registry, "product-service", memory, products.update).begin()
    return products
