"""The order service: stores orders in PostgreSQL; an order that was answered 201 is stored exactly once."""

import os
from collections.abc import Mapping

from cnet_service.app import create_service_app
from cnet_service.description import Responses
from cnet_service.discovery import follow
from cnet_service.errors import InvalidError, error_response
from cnet_service.models import (
    Error,
    NewOrder,
    Order,
    OrderCreated,
    OrderHeader,
    OrderPath,
    Unavailable,
)
from database import Database
from flask import Flask, Response
from orders import ConflictError, create_order, find_order, read_amount
from products import Products

CREATE: Responses = {201: OrderCreated, 400: Error, 409: Error, 413: Error, 503: Unavailable}
SHOW: Responses = {200: Order, 404: Error, 503: Unavailable}


def create_app(config: Mapping[str, str] | None = None) -> Flask:
    """Return the application; `config` replaces the environment."""
    settings = os.environ if config is None else config
    database = Database(
        settings.get("DB_HOST", "127.0.0.1"),
        int(settings.get("DB_PORT", "5432")),
        settings.get("DB_NAME", "orders"),
        settings.get("DB_USER", "orders"),
        settings.get("DB_PASSWORD", ""),
        ip6=settings.get("DB_IP6", ""),
    )
    checks = {"postgres": lambda: database.run(lambda cursor: cursor.execute("SELECT 1 FROM orders LIMIT 1"))}
    instance = settings.get("INSTANCE_ID", "order-service")
    app = create_service_app("order-service", instance, "Orders in PostgreSQL.", checks)
    products = Products()
    has_products = follow(settings, "product-service", "PRODUCT_SERVICE_URLS", products.update)

    @app.post("/orders", summary="Order, exactly once for each Idempotency-Key", responses=CREATE)
    def create(header: OrderHeader, body: NewOrder) -> tuple[dict[str, object], int] | Response:
        amount = read_amount(body.total_price, body.quantity)
        if has_products and not products.exists(body.product_id):
            raise InvalidError("product_id", "there is no such product")
        try:
            order_id = create_order(database, body, amount, header.key)
        except ConflictError:
            return error_response(409, "This Idempotency-Key was used for another order")
        return OrderCreated(order_id=order_id).model_dump(), 201

    @app.get("/orders/<order_id>", summary="One order", responses=SHOW)
    def show(path: OrderPath) -> dict[str, object] | Response:
        order = find_order(database, path.order_id)
        return order.model_dump() if order else error_response(404, "Order not found")

    return app
