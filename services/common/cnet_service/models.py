"""The services' requests and answers as pydantic models, used for validation and for the OpenAPI documents."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MAX_TEXT = 100
MAX_NAME = 200
MAX_QUANTITY = 1_000_000
MAX_PRICE = 99_999_999.99  # decimal(10, 2)


class Message(BaseModel):
    """Base of all models: no conversion between types, no other fields, no changes."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Error(Message):
    """An error; `field` is the invalid input, `dependencies` lists those that do not answer."""

    error: str
    field: str = ""
    dependencies: list[str] = []


class Unavailable(Error):
    """A dependency does not answer; try again."""

    model_config = ConfigDict(
        openapi_extra={  # type: ignore[typeddict-unknown-key]  # of flask-openapi3
            "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
        }
    )


class State(Message):
    """The state of a service; `degraded` lists optional dependencies with a problem, and the problem."""

    service: str
    status: str
    degraded: dict[str, str] = {}


def check_name(name: str) -> str:
    """Return a printable name; raise ValueError for any other text."""
    if not name.strip() or not name.isprintable():
        raise ValueError("must be printable text")
    return name


class Product(Message):
    """A product of the catalogue."""

    id: str
    name: Annotated[str, Field(max_length=MAX_NAME), AfterValidator(check_name)]
    price: float = Field(ge=0, le=MAX_PRICE, allow_inf_nan=False)
    stock: int = Field(ge=0, lt=2**31)


class Products(Message):
    """The catalogue."""

    instance: str = Field(description="the instance that answered")
    products: list[Product]


class ProductPath(Message):
    """The path of a product."""

    product_id: str = Field(description="of the catalogue")


def check_text(text: str) -> str:
    """Return a text that PostgreSQL can store; pydantic has refused half of a surrogate pair."""
    if "\0" in text:
        raise ValueError("must not contain NUL")
    return text


Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), AfterValidator(check_text)]


class NewOrder(Message):
    """An order that has no id yet."""

    customer_id: Text
    product_id: Text = Field(description="of the catalogue; any other is refused")
    quantity: int = Field(ge=1, le=MAX_QUANTITY)
    total_price: float = Field(ge=0, lt=MAX_PRICE + 0.01, description="at most two decimal places")

    model_config = ConfigDict(
        openapi_extra={  # type: ignore[typeddict-unknown-key]  # of flask-openapi3
            "example": {"customer_id": "c-1", "product_id": "2", "quantity": 3, "total_price": 89.97}
        }
    )


class OrderHeader(BaseModel):
    """The header that makes a retry safe: same key and order, same answer."""

    key: str = Field("", alias="Idempotency-Key", pattern="^[!-~]{1,255}$")


class OrderCreated(Message):
    """An order that is stored."""

    order_id: int
    status: Literal["created"] = "created"


class OrderPath(Message):
    """The path of an order."""

    order_id: str = Field(description="the order_id of the answer to the order")


class Order(Message):
    """A stored order."""

    id: int
    customer_id: str
    product_id: str
    quantity: int
    total_price: float
    created_at: str = Field(description="ISO 8601, UTC")
