"""Orders: what is a good one, and how it is stored exactly once."""

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass
from decimal import Decimal

from cnet_service.errors import InvalidError
from database import Database, RefusedError
from psycopg2.extensions import cursor as Cursor

MAX_TEXT = 100
MAX_QUANTITY = 1_000_000
MAX_PRICE = Decimal("99999999.99")  # decimal(10, 2)
HALF_A_CENT = Decimal("0.005")
MAX_ID = 2**31 - 1  # serial
KEY = re.compile(r"[\x21-\x7e]{1,255}")
FIELDS = ("customer_id", "product_id", "quantity", "total_price")


class Conflict(RefusedError):
    """An Idempotency-Key that was used for another request."""


@dataclass(frozen=True)
class Order:
    """A checked order that has no id yet."""

    customer_id: str
    product_id: str
    quantity: int
    total_price: Decimal


def read_order(body: dict[str, object]) -> Order:
    """Return the order in a request's body, or raise Invalid with the first wrong field."""
    unknown = sorted(body.keys() - set(FIELDS))
    if unknown:
        raise InvalidError(
            unknown[0][:MAX_TEXT], f"is not a field of an order; those are {', '.join(FIELDS)}"
        )
    for field in FIELDS:
        if field not in body:
            raise InvalidError(field, "is missing")
    customer_id, product_id = read_text(body, "customer_id"), read_text(body, "product_id")
    quantity = read_quantity(body)
    return Order(customer_id, product_id, quantity, read_price(body, quantity))


def read_text(body: dict[str, object], field: str) -> str:
    """Return a text of 1 to 100 characters that PostgreSQL can hold."""
    value = body[field]
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT:
        raise InvalidError(field, f"must be a text of 1 to {MAX_TEXT} characters")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidError(field, "must not contain NUL or half of a surrogate pair")
    return value


def read_quantity(body: dict[str, object]) -> int:
    """Return a whole number in range; true is no number here, though it is one to Python."""
    value = body["quantity"]
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_QUANTITY:
        raise InvalidError("quantity", f"must be a whole number from 1 to {MAX_QUANTITY}")
    return value


def read_price(body: dict[str, object], quantity: int) -> Decimal:
    """Return an amount in whole cents: the one that a sum of `quantity` prices in binary floats stands for.

    A browser adds 79.99 three times to 239.96999999999997. Each addition, and each price by itself, is off by
    at most half of the sum's last binary place (IEEE 754), which is far less than half a cent.
    """
    value = body["total_price"]
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float(MAX_PRICE) + 1:
        raise InvalidError("total_price", f"must be a number from 0 to {MAX_PRICE}")
    exact = Decimal(value)
    amount = round(exact, 2)
    if amount > MAX_PRICE:
        raise InvalidError("total_price", f"must be a number from 0 to {MAX_PRICE}")
    if abs(exact - amount) > min(quantity * Decimal(math.ulp(value)), HALF_A_CENT):
        raise InvalidError("total_price", "must have at most two decimal places")
    return amount


def read_key(header: str | None) -> str | None:
    """Return the Idempotency-Key, None when there is none."""
    if header is not None and not KEY.fullmatch(header):
        raise InvalidError("Idempotency-Key", "must be 1 to 255 printable ASCII characters without spaces")
    return header


def create_order(database: Database, order: Order, key: str | None) -> int:
    """Store the order and return its id; with a known key, the id of the order that was stored then."""

    def work(cursor: Cursor) -> int:
        known = claim_key(cursor, key, digest(order)) if key else None
        if known is not None:
            return known
        cursor.execute(
            "INSERT INTO orders (customer_id, product_id, quantity, total_price)"
            " VALUES (%(customer_id)s, %(product_id)s, %(quantity)s, %(total_price)s) RETURNING id",
            asdict(order),
        )
        order_id = first_number(cursor)
        if key:
            cursor.execute("UPDATE idempotency_keys SET order_id = %s WHERE key = %s", (order_id, key))
        return order_id

    return database.run(work)


def claim_key(cursor: Cursor, key: str, request: str) -> int | None:
    """Return None when the key is new, and now ours; else the id of its order.

    Of two requests with one key the second waits here for the first's commit.
    """
    cursor.execute(
        "INSERT INTO idempotency_keys (key, request) VALUES (%s, %s) ON CONFLICT DO NOTHING", (key, request)
    )
    if cursor.rowcount == 1:
        return None
    cursor.execute("SELECT order_id, request FROM idempotency_keys WHERE key = %s", (key,))
    order_id, known_request = cursor.fetchone() or (None, None)
    if known_request != request or not isinstance(order_id, int):
        raise Conflict
    return order_id


def first_number(cursor: Cursor) -> int:
    """Return the only column of the only row."""
    row = cursor.fetchone()
    if row is None:
        raise RuntimeError("INSERT ... RETURNING returned nothing")
    return int(row[0])


def digest(order: Order) -> str:
    """Return what tells one order from another."""
    return hashlib.sha256(json.dumps(asdict(order), default=str, sort_keys=True).encode()).hexdigest()


def find_order(database: Database, order_id: str) -> dict[str, object] | None:
    """Return a stored order as it is shown to clients, None when there is none."""
    if not re.fullmatch(r"[0-9]{1,10}", order_id) or int(order_id) > MAX_ID:
        return None

    def work(cursor: Cursor) -> dict[str, object] | None:
        cursor.execute(
            "SELECT id, customer_id, product_id, quantity, total_price, created_at FROM orders WHERE id = %s",
            (int(order_id),),
        )
        row = cursor.fetchone()
        if row is None:
            return None
        if not row[4].is_finite():
            raise ValueError(f"order {row[0]} has the price {row[4]}, which JSON cannot say")
        return dict(zip(("id", *FIELDS), (*row[:4], float(row[4])), strict=True)) | {
            "created_at": row[5].isoformat()
        }

    return database.run(work)
