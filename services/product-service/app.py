"""The product service: the catalogue, cached in Redis, served from its own data when Redis is away."""

import os
from collections.abc import Mapping
from pathlib import Path

from cache import Cache
from catalogue import PRODUCTS, encode, is_product, is_product_list
from cnet_service.app import create_service_app
from cnet_service.errors import error_response
from flask import Flask, Response

DOCUMENT = Path(__file__).with_name("openapi.json")


def create_app(config: Mapping[str, str] | None = None) -> Flask:
    """Return the application; `config` stands in for the environment."""
    settings = os.environ if config is None else config
    instance = settings.get("INSTANCE_ID", "product-service")
    cache = Cache(
        settings.get("REDIS_HOST", "127.0.0.1"),
        int(settings.get("REDIS_PORT", "6379")),
        settings.get("REDIS_PASSWORD") or None,
    )
    # Redis is no dependency of /ready, which only tells of it: the service answers without it.
    app = create_service_app("product-service", instance, DOCUMENT, helpers={"cache": cache.trouble})
    head = b'{"instance":' + encode(instance) + b',"products":'

    @app.get("/products")
    def products() -> Response:
        # What the cache gives is checked JSON: it is put in place as it is, not read and written again.
        listed = cache.get("all_products", lambda: encode(list(PRODUCTS.values())), is_product_list)
        return Response(head + listed + b"}\n", mimetype="application/json")

    @app.get("/products/<product_id>")
    def product(product_id: str) -> Response:
        if product_id not in PRODUCTS:
            return error_response(404, "Product not found")
        found = cache.get(
            f"product_{product_id}", lambda: encode(PRODUCTS[product_id]), is_product(product_id)
        )
        return Response(found + b"\n", mimetype="application/json")

    return app
