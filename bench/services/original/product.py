"""The original's product service, for comparison only: Flask's development server and one Redis client."""

import json
import os

import redis
from flask import Flask, jsonify

app = Flask(__name__)
cache = redis.Redis(
    os.environ["REDIS_HOST"], int(os.environ["REDIS_PORT"]), password=os.environ["REDIS_PASSWORD"]
)
PRODUCTS = [
    {"id": "1", "name": "Laptop", "price": 999.99, "stock": 50},
    {"id": "2", "name": "Mouse", "price": 29.99, "stock": 200},
    {"id": "3", "name": "Keyboard", "price": 79.99, "stock": 150},
]


@app.route("/products")
def products():
    cached = cache.get("product_original")
    if cached is None:
        cached = json.dumps(PRODUCTS)
        cache.setex("product_original", 300, cached)
    return jsonify({"instance": os.environ["INSTANCE_ID"], "products": json.loads(cached)})


if __name__ == "__main__":
    app.run(host=os.environ["SERVICE_IP"], port=int(os.environ["SERVICE_PORT"]), threaded=True)
