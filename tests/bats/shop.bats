#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# The shop's page: in a real browser, and what nginx answers beside it.

load helpers

setup_file() { share_lab; }

@test "in a browser: catalogue, an order and its number, which instance answered, errors in a customer's words" {
  need_packaged chromium chromium-browser google-chrome
  in_lab '
    SHOP_URL=http://localhost:8080/ .venv/bin/python -m pytest tests/lab/test_shop.py -p no:cacheprovider
  '
  succeeds
  says "17 passed"
}

@test "nginx serves the page's files and nothing beside them; the API and its JSON errors stay as they were" {
  in_lab '
    head_of() { curl -sI -m 3 "http://localhost:8080$1" | tr -d "\r"; }
    body_of() { curl -s -m 3 --path-as-is "$@"; }
    [[ $(head_of /) == *"200 OK"*"Content-Type: text/html"*"Content-Security-Policy: default-src '"'self'"'"* ]]
    [[ $(head_of /shop/shop.js) == *"200 OK"*"Content-Type: text/javascript"*nosniff* ]]
    head_of /api/products >/run/head
    grep "Content-Type: application/json" /run/head; refute grep Content-Security /run/head
    for path in /shop/none /shop/../start.sh /shop../start.sh /shop/..%2fstart.sh /start.sh /shop/%2e%2e/start.sh; do
      [[ $(body_of "http://localhost:8080$path") == "{\"error\":"* ]] || { echo "$path"; exit 1; }
    done
    [[ $(body_of -X POST http://localhost:8080/) == "{\"error\":\"Method not allowed\"}" ]]
  '
  succeeds
}
