"""The catalogue, the service's own data, and what a cached copy of it must look like."""

import json

PRODUCTS: dict[str, dict[str, object]] = {
    "1": {"id": "1", "name": "Laptop", "price": 999.99, "stock": 50},
    "2": {"id": "2", "name": "Mouse", "price": 29.99, "stock": 200},
    "3": {"id": "3", "name": "Keyboard", "price": 79.99, "stock": 150},
}


def encode(value: object) -> bytes:
    """Return `value` as compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def is_product(value: object) -> bool:
    """Return whether `value` is a product of the catalogue's shape."""
    return isinstance(value, dict) and value.keys() == PRODUCTS["1"].keys()


def is_product_list(value: object) -> bool:
    """Return whether `value` is a list of products."""
    return isinstance(value, list) and all(is_product(item) for item in value)
