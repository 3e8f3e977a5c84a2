"""Send requests to an idle lab: some a second, an order now and then.

    python -m monitoring.visit URL SECONDS

Requests start at fixed times, however long the one before takes. Prints how many were answered.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import requests

PER_SECOND, REQUESTS_PER_ORDER = 5, 10  # requests; every tenth is an order
_TIMEOUT_SECONDS = 2.0
_ORDER: dict[str, str | float] = {
    "customer_id": "visitor",
    "product_id": "2",
    "quantity": 1,
    "total_price": 29.99,
}
_PATHS = ("/api/products", "/api/products/1", "/api/products/3", "/health")


def visit(url: str, number: int) -> bool:
    """Send one request on a connection of its own; return whether the answer was good and in time."""
    with requests.Session() as session:
        session.trust_env = False  # no proxy
        try:
            if number % REQUESTS_PER_ORDER == REQUESTS_PER_ORDER - 1:
                response = session.post(f"{url}/api/orders", json=_ORDER, timeout=_TIMEOUT_SECONDS)
            else:
                response = session.get(url + _PATHS[number % len(_PATHS)], timeout=_TIMEOUT_SECONDS)
        except requests.RequestException:
            return False
        return response.ok


def main(arguments: Sequence[str]) -> int:
    """Send the requests; return 0 if all were answered."""
    url, seconds = arguments
    begin, answered, count = time.monotonic(), 0, int(float(seconds) * PER_SECOND)
    for number in range(count):
        time.sleep(max(begin + number / PER_SECOND - time.monotonic(), 0))
        answered += visit(url, number)
    print(f"{answered} of {count} requests were answered")
    return 0 if answered == count else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
