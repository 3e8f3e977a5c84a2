# shellcheck shell=bash
# Checks of the platform, both in the lab's namespaces and in containers. Sourced.
# The sourcing script defines read_order ID, which prints the order's row from PostgreSQL. It may define
# explain_missing_answer URL, which prints how to find out why a request got no answer.

export FAILED=0

# With BRIEF=1 a section whose checks all passed is one line.
SECTION='' PASSED=() BROKEN=''
passed() {
  PASSED+=("$*")
  [[ -n ${BRIEF:-} ]] || echo "  ${GREEN}ok${PLAIN}    $*"
}
failed() {
  [[ -z ${BRIEF:-} || -n $BROKEN ]] || echo "$SECTION"
  echo "  ${RED}FAIL${PLAIN}  $*"
  FAILED=1 BROKEN=1
}
# check PASSED_TEXT FAILED_TEXT COMMAND...: run the command and report one of the texts.
check() { if "${@:3}"; then passed "$1"; else failed "$2"; fi; }
title() {
  end_section
  SECTION=$* PASSED=() BROKEN=''
  [[ -n ${BRIEF:-} ]] || printf '\n%s%s%s\n' "$BOLD" "$*" "$PLAIN"
}
end_section() {
  [[ -n ${BRIEF:-} && -z $BROKEN && -n ${PASSED[*]} ]] || return 0
  local many="$SECTION: ${#PASSED[@]} checks"
  ((${#PASSED[@]} > 1)) || many=${PASSED[0]}
  echo "  ${GREEN}ok${PLAIN}    $many"
}

explain_missing_answer() { :; }

FROM=() OWN=() # where `expect` sends from: the host, or in_namespace NS with one of its addresses

MAX_ANSWER_BYTES=1000000 # curl fails if an answer is longer

ask() { "${FROM[@]}" curl -s "${OWN[@]}" -m 5 "$@" | head -c "$MAX_ANSWER_BYTES"; } # CURL_ARGUMENTS...

# expect TITLE STATUS JQ_FILTER CURL_ARGUMENTS...: the answer's status, and what must be true of its JSON
expect() {
  local answer status body
  answer=$(ask -w '\n%{http_code}' "${@:4}") || answer=$'\n000'
  status=${answer##*$'\n'} body=${answer%$'\n'*}
  if [[ $status == "$2" ]] && jq -e "$3" &>/dev/null <<<"$body"; then
    passed "$(printf '%-44s %s  %s' "$1" "$status" "$(tr -d '\n' <<<"$body" | cut -c 1-60)")"
  else
    failed "$1: expected $2 and $3, got ${status/#000/no answer}${body:+: ${body:0:200}}"
    [[ $status != 000 ]] || explain_missing_answer "${@: -1}"
  fi
}

verify_own_endpoints_of() { # NAME BASE
  expect "$1 GET /health" 200 '.status == "healthy"' "$2/health"
  expect "$1 GET /ready" 200 . "$2/ready"
  if [[ $(ask "$2/metrics") == *'# TYPE'* ]]; then passed "$1 GET /metrics"; else failed "$1 has no /metrics"; fi
}

verify_way_in() { # BASE
  check 'nginx GET /health: OK' "nginx does not answer $1/health with OK" [ "$(ask "$1/health")" = OK ]
}

verify_products() { # BASE
  expect 'GET /api/products' 200 '(.products | length) == 3 and (.instance | length) > 0' "$1/api/products"
  expect 'GET /api/products/1' 200 '.name == "Laptop" and .price == 999.99 and .stock == 50' "$1/api/products/1"
  expect 'GET /api/products/99' 404 '.error == "Product not found"' "$1/api/products/99"
  expect 'GET /api/nowhere' 404 '.error' "$1/api/nowhere"
}

verify_orders() { # BASE
  local order id row
  order='{"customer_id":"verify","product_id":"2","quantity":3,"total_price":89.97}'
  expect 'POST /api/orders without a quantity' 400 '.error | test("quantity")' -H 'Content-Type: application/json' \
    -d '{"customer_id":"verify","product_id":"2","total_price":1}' "$1/api/orders"
  expect 'GET /api/orders' 405 '.error' "$1/api/orders"
  id=$(ask -H 'Content-Type: application/json' -d "$order" "$1/api/orders" |
    jq -r 'select(.status == "created") | .order_id' 2>/dev/null) || id=''
  [[ $id =~ ^[0-9]+$ ]] || { failed 'POST /api/orders created no order' && return; }
  passed "POST /api/orders: order $id created"
  expect "GET /api/orders/$id" 200 '.quantity == 3 and .total_price == 89.97 and .customer_id == "verify"' \
    "$1/api/orders/$id"
  row=$(read_order "$id") || row=''
  check "PostgreSQL has it: SELECT ... WHERE id = $id: $row" "PostgreSQL's row of order $id: ${row:-none}" \
    [ "$row" = 'verify|2|3|89.97' ]
}
