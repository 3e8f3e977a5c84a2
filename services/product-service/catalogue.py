"""The catalogue: the service's own data, and the check of a cached copy."""

from cnet_service.models import Product
from pydantic import TypeAdapter

PRODUCTS = {
    product.id: product
    for product in (
        Product(id="1", name="Laptop", price=999.99, stock=50),
        Product(id="2", name="Mouse", price=29.99, stock=200),
        Product(id="3", name="Keyboard", price=79.99, stock=150),
    )
}
LIST = TypeAdapter(list[Product])


def encode_all() -> bytes:
    """Return the list of all products as JSON."""
    return LIST.dump_json(list(PRODUCTS.values()))


def read_all(cached: bytes) -> bytes:
    """Return a cached list as it is served; raise ValueError if it is not all products in their order."""
    products = LIST.validate_json(cached)
    if [product.id for product in products] != list(PRODUCTS):
        raise ValueError("not the products of the catalogue")
    return LIST.dump_json(products)


def read_one(cached: bytes, product_id: str) -> bytes:
    """Return a cached product as it is served; raise ValueError if it is not this product."""
    product = Product.model_validate_json(cached)
    if product.id != product_id:
        raise ValueError("another product")
    return product.model_dump_json().encode()
