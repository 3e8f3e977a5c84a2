"""The catalogue, the service's own data, and what a cached copy of it must look like."""

import json
from collections.abc import Callable

PRODUCTS: dict[str, dict[str, object]] = {
    "1": {"id": "1", "name": "Laptop", "price": 999.99, "stock": 50},
    "2": {"id": "2", "name": "Mouse", "price": 29.99, "stock": 200},
    "3": {"id": "3", "name": "Keyboard", "price": 79.99, "stock": 150},
}
MOST_PRICE = 100_000_000  # an order's decimal(10, 2)
MOST_STOCK = 2**31
MOST_NAME = 200


def encode(value: object) -> bytes:
    """Return `value` as compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def is_product(product_id: str) -> Callable[[object], bool]:
    """Return what tells whether a value is the product of this id, in keys, types and ranges."""

    def check(value: object) -> bool:
        return (
            isinstance(value, dict)
            and value.keys() == PRODUCTS["1"].keys()
            and value["id"] == product_id
            and is_name(value["name"])
            and is_number(value["price"], MOST_PRICE)
            and is_number(value["stock"], MOST_STOCK)
            and isinstance(value["stock"], int)
        )

    return check


def is_product_list(value: object) -> bool:
    """Return whether `value` is the list of all products, in the catalogue's order."""
    return (
        isinstance(value, list)
        and len(value) == len(PRODUCTS)
        and all(is_product(product_id)(item) for product_id, item in zip(PRODUCTS, value, strict=True))
    )


def is_name(value: object) -> bool:
    """Return whether `value` is a text that can be shown."""
    return isinstance(value, str) and bool(value.strip()) and len(value) <= MOST_NAME and value.isprintable()


def is_number(value: object, most: int) -> bool:
    """Return whether `value` is a number from 0 to below `most`; true is none, NaN and Infinity are not in range."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < most
