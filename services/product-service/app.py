"""The product service: the catalogue, cached in Redis; without Redis it answers from its own data."""

import os
from collections.abc import Mapping

from cache import Cache
from catalogue import PRODUCTS, encode_all, read_all, read_one
from cnet_service.app import create_service_app
from cnet_service.errors import error_response
from cnet_service.models import Error, Product, ProductPath, Products
from flask import Flask, Response


def create_app(config: Mapping[str, str] | None = None) -> Flask:
    """Return the application; `config` replaces the environment."""
    settings = os.environ if config is None else config
    instance = settings.get("INSTANCE_ID", "product-service")
    cache = Cache(
        settings.get("REDIS_HOST", "127.0.0.1"),
        int(settings.get("REDIS_PORT", "6379")),
        settings.get("REDIS_PASSWORD") or None,
        ip6=settings.get("REDIS_IP6", ""),
    )
    # /ready reports a problem with Redis but does not fail: the service answers without it.
    about = "The catalogue, cached in Redis."
    app = create_service_app("product-service", instance, about, helpers={"cache": cache.find_problem})
    empty = Products(instance=instance, products=[]).model_dump_json().encode()
    head, tail = empty.removesuffix(b"[]}"), b"}\n"

    @app.get("/products", summary="The catalogue", responses={200: Products})
    def products() -> Response:
        # The cache returns validated JSON, so it is inserted without parsing.
        return Response(
            head + cache.get("all_products", encode_all, read_all) + tail, mimetype="application/json"
        )

    @app.get("/products/<product_id>", summary="One product", responses={200: Product, 404: Error})
    def product(path: ProductPath) -> Response:
        known = PRODUCTS.get(path.product_id)
        if known is None:
            return error_response(404, "Product not found")
        found = cache.get(
            f"product_{known.id}",
            lambda: known.model_dump_json().encode(),
            lambda cached: read_one(cached, known.id),
        )
        return Response(found + b"\n", mimetype="application/json")

    return app
