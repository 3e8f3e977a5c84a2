# shellcheck shell=bash disable=SC2154 # variables of targets.py
dd if=/dev/zero of=/var/opt/cnet/filler bs=1M 2>/dev/null || :
# Orders until the pages that the table has are full.
for count in 20 1; do
  while sql "INSERT INTO orders (customer_id, product_id, quantity, total_price)
    SELECT 'x', '1', 1, 1 FROM generate_series(1, $count)" 2>/dev/null; do :; done
done
