-- Orders, and the order that each Idempotency-Key created.
CREATE TABLE IF NOT EXISTS orders (
    id serial PRIMARY KEY,
    customer_id varchar(100) NOT NULL,
    product_id varchar(100) NOT NULL,
    quantity int NOT NULL,
    total_price decimal(10, 2) NOT NULL,
    created_at timestamp NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS idempotency_keys (
    key varchar(255) PRIMARY KEY,
    request char(64) NOT NULL,
    order_id int REFERENCES orders (id),
    created_at timestamp NOT NULL DEFAULT now()
);
