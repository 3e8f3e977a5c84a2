"""The original's product service and gateway, for comparison only: Flask's development server, a new connection a call.

Each program answers both paths; the gateway has its own port.
"""

import itertools
import json
import os

import redis
import requests
from flask import Flask, jsonify

PRODUCTS = [
    {"id": "1", "name": "Laptop", "price": 999.99, "stock": 50},
    {"id": "2", "name": "Mouse", "price": 29.99, "stock": 200},
    {"id": "3", "name": "Keyboard", "price": 79.99, "stock": 150},
]
cache = redis.Redis(
    os.environ["REDIS_HOST"], int(os.environ["REDIS_PORT"]), password=os.environ["REDIS_PASSWORD"]
)
urls = itertools.cycle(os.environ.get("PRODUCT_SERVICE_URLS", "").split(","))


def product():
    cached = cache.get("product_original")
    if cached is None:
        cached = json.dumps(PRODUCTS)
        cache.setex("product_original", 300, cached)
    return jsonify({"instance": os.environ["INSTANCE_ID"], "products": json.loads(cached)})


def gateway():
    return jsonify(requests.get(f"{next(urls)}/products").json())


if __name__ == "__main__":
    app = Flask(__name__)
    app.add_url_rule("/products", view_func=product)
    app.add_url_rule("/api/products", view_func=gateway)
    app.run(host=os.environ["SERVICE_IP"], port=int(os.environ["SERVICE_PORT"]), threaded=True)
