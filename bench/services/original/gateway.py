"""The original's gateway, for comparison only: Flask's development server, a new connection a call."""

import itertools
import os

import requests
from flask import Flask, jsonify

app = Flask(__name__)
urls = itertools.cycle(os.environ["PRODUCT_SERVICE_URLS"].split(","))


@app.route("/api/products")
def products():
    return jsonify(requests.get(f"{next(urls)}/products").json())


if __name__ == "__main__":
    app.run(host=os.environ["SERVICE_IP"], port=int(os.environ["SERVICE_PORT"]), threaded=True)
