"""The order service: orders in PostgreSQL, each answered 201 exactly once there."""

import os
from collections.abc import Mapping

from database import Database
from flask import Flask, Response, request
from orders import Conflict, create_order, find_order, read_key, read_order
from products import Products
from web import Invalid, create_web_app, error, json_object


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
    products = Products(settings.get("SERVICE_REGISTRY", ""), settings.get("PRODUCT_SERVICE_URLS", ""))
    checks = {"postgres": lambda: database.run(lambda cursor: cursor.execute("SELECT 1 FROM orders LIMIT 1"))}
    app = create_web_app("order-service", settings.get("INSTANCE_ID", "order-service"), checks)

    @app.post("/orders")
    def create() -> tuple[dict[str, object], int] | Response:
        key = read_key(request.headers.get("Idempotency-Key"))
        order = read_order(json_object())
        if not products.exists(order.product_id):
            raise Invalid("product_id", "there is no such product")
        try:
            order_id = create_order(database, order, key)
        except Conflict:
            return error(409, "This Idempotency-Key was used for another order")
        return {"order_id": order_id, "status": "created"}, 201

    @app.get("/orders/<order_id>")
    def show(order_id: str) -> dict[str, object] | Response:
        return find_order(database, order_id) or error(404, "Order not found")

    return app
