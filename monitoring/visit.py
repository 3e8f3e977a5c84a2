"""Gentle traffic for a lab that nobody uses: some requests a second, an order now and then.

    python -m monitoring.visit URL SECONDS

Open loop: each visit has its moment, whether the one before was quick or not. Prints how many were answered.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from urllib.parse import urlsplit

from monitoring.exchange import http_connection

PER_SECOND, ORDER_EACH = 5, 10  # visits; every tenth is an order
_TIMEOUT_SECONDS = 2.0
_WELL = 400
_ORDER = {"customer_id": "visitor", "product_id": "2", "quantity": 1, "total_price": 29.99}
_PATHS = ("/api/products", "/api/products/1", "/api/products/3", "/health")


def visit(host: str, port: int, number: int) -> bool:
    """Make one visit on a connection of its own; tell whether it was answered well, and in time."""
    try:
        with closing(http_connection(host, port, _TIMEOUT_SECONDS)) as connection:
            if number % ORDER_EACH == ORDER_EACH - 1:
                headers = {"Content-Type": "application/json", "Connection": "close"}
                connection.request("POST", "/api/orders", json.dumps(_ORDER), headers)
            else:
                connection.request("GET", _PATHS[number % len(_PATHS)], headers={"Connection": "close"})
            return connection.getresponse().status < _WELL
    except (OSError, http.client.HTTPException):
        return False


def main(arguments: Sequence[str]) -> int:
    """Visit; 0 when all were answered."""
    url, seconds = arguments
    parts, begin = urlsplit(url), time.monotonic()
    answered = 0
    count = int(float(seconds) * PER_SECOND)
    for number in range(count):
        time.sleep(max(begin + number / PER_SECOND - time.monotonic(), 0))
        answered += visit(parts.hostname or "", parts.port or 80, number)
    print(f"{answered} of {count} visits were answered")
    return 0 if answered == count else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
