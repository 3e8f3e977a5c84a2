"""Orders: the exact amount of a price, and storing an order exactly once."""

import hashlib
import json
import math
import re
from decimal import Decimal

from cnet_service.errors import InvalidError
from cnet_service.models import MAX_PRICE, NewOrder, Order
from database import Database, RefusedError
from psycopg2.extensions import cursor as Cursor

MAX_AMOUNT = Decimal(str(MAX_PRICE))
HALF_A_CENT = Decimal("0.005")
MAX_ID = 2**31 - 1  # limit of PostgreSQL's type serial


class ConflictError(RefusedError):
    """An Idempotency-Key was used for another order."""


def read_amount(price: float, quantity: int) -> Decimal:
    """Return a price in exact cents, allowing for the rounding errors of a sum of `quantity` binary floats.

    A browser adds 79.99 three times to 239.96999999999997. Each addition, and each price by itself, is off by
    at most half of the sum's last binary place (IEEE 754), which is far less than half a cent.
    """
    exact = Decimal(price)
    amount = round(exact, 2)
    if amount > MAX_AMOUNT:
        raise InvalidError("total_price", f"must be a number from 0 to {MAX_AMOUNT}")
    if abs(exact - amount) > min(quantity * Decimal(math.ulp(price)), HALF_A_CENT):
        raise InvalidError("total_price", "must have at most two decimal places")
    return amount


def create_order(database: Database, order: NewOrder, amount: Decimal, key: str) -> int:
    """Store the order and return its id; for a known key, return the id of the order stored with it."""
    values = order.model_dump() | {"total_price": amount}

    def work(cursor: Cursor) -> int:
        known = claim_key(cursor, key, digest(values)) if key else None
        if known is not None:
            return known
        cursor.execute(
            "INSERT INTO orders (customer_id, product_id, quantity, total_price)"
            " VALUES (%(customer_id)s, %(product_id)s, %(quantity)s, %(total_price)s) RETURNING id",
            values,
        )
        order_id = first_number(cursor)
        if key:
            cursor.execute("UPDATE idempotency_keys SET order_id = %s WHERE key = %s", (order_id, key))
        return order_id

    return database.run(work)


def claim_key(cursor: Cursor, key: str, request: str) -> int | None:
    """Store a new key and return None; return the order's id of a known key, raise ConflictError for another order.

    A second request with the same key waits here until the first commits.
    """
    cursor.execute(
        "INSERT INTO idempotency_keys (key, request) VALUES (%s, %s) ON CONFLICT DO NOTHING", (key, request)
    )
    if cursor.rowcount == 1:
        return None
    cursor.execute("SELECT order_id, request FROM idempotency_keys WHERE key = %s", (key,))
    order_id, known_request = cursor.fetchone() or (None, None)
    if known_request != request or not isinstance(order_id, int):
        raise ConflictError
    return order_id


def first_number(cursor: Cursor) -> int:
    """Return the only column of the only row."""
    row = cursor.fetchone()
    if row is None:
        raise RuntimeError("INSERT ... RETURNING returned nothing")
    return int(row[0])


def digest(values: dict[str, object]) -> str:
    """Return a digest of an order's fields; only equal orders have equal digests."""
    return hashlib.sha256(json.dumps(values, default=str, sort_keys=True).encode()).hexdigest()


def find_order(database: Database, order_id: str) -> Order | None:
    """Return a stored order, None if there is none."""
    if not re.fullmatch(r"[0-9]{1,10}", order_id) or int(order_id) > MAX_ID:
        return None

    def work(cursor: Cursor) -> Order | None:
        cursor.execute(
            "SELECT id, customer_id, product_id, quantity, total_price, created_at FROM orders WHERE id = %s",
            (int(order_id),),
        )
        row = cursor.fetchone()
        if row is None:
            return None
        number, customer_id, product_id, quantity, price, created_at = row
        if not price.is_finite():
            raise ValueError(f"order {number} has the price {price}, which is not a number in JSON")
        return Order(
            id=number,
            customer_id=customer_id,
            product_id=product_id,
            quantity=quantity,
            total_price=float(price),
            created_at=created_at.isoformat(),
        )

    return database.run(work)
