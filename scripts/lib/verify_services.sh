# shellcheck shell=bash disable=SC2153,SC2034 # maps of topology.sh; OWN is for checks.sh
# Checks of phase 2: each service's endpoints, discovery, names, the platform through the published port.
# Sourced by verify.sh, after checks.sh and names.sh.

explain_missing_answer() { # URL
  local address=${1#http://} node from=host to=host
  address=${address%%/*}
  for node in "${NODES[@]}"; do
    [[ ${ADDRESS[$node]%/*} != "${address%:*}" ]] || to=$node
    [[ ${NAMESPACE[$node]} != "${FROM[1]:-}" ]] || from=$node
  done
  why "FROM=$from TO=$to PORT=${address##*:}"
}

verify_own_endpoints() {
  local node base
  for node in "${NODES[@]}"; do
    base=http://${ADDRESS[$node]%/*}:${LISTENS[$node]%%/*}
    case ${RUNS[$node]} in
      api-gateway | product-service | order-service | service-registry) verify_own_endpoints_of "$node" "$base" ;;
    esac
  done
}

registered_name() { # of a node: what it registers as, or is configured as
  case ${RUNS[$1]} in nginx | redis | postgres | service-registry) label "$1" ;; *) echo "${RUNS[$1]}" ;; esac
}

count_services() { # nodes that run a program
  local node count=0
  for node in "${NODES[@]}"; do [[ ${RUNS[$node]} == - ]] || count=$((count + 1)); done
  echo "$count"
}
all_pass() { # BASE COUNT
  [[ $(ask -m 2 "$1/services" | jq '[.[][] | select(.health == "passing")] | length') -ge $2 ]]
}

verify_discovery() { # BASE
  local node product body
  retry_until 5 all_pass "$1" "$(count_services)" || : # a service that has just started registers within a second
  for node in "${NODES[@]}"; do
    [[ ${RUNS[$node]} == - ]] || expect "$node is registered and passing" 200 \
      "any(.[]; .instance_id == \"$(label "$node")\" and .health == \"passing\" and .ip == \"${ADDRESS[$node]%/*}\")" \
      "$1/discover/$(registered_name "$node")?all=1"
  done
  product=$(nodes_running product-service | sed -n 1p)
  [[ -n $product ]] || return 0
  body="{\"name\":\"verify\",\"ip\":\"${ADDRESS[$product]%/*}\",\"port\":${LISTENS[$product]%%/*}}"
  expect "POST /register of another node's address is refused" 403 '.field == "ip"' \
    -H 'Content-Type: application/json' -d "$body" "$1/register"
  verify_registration "$1" "$product" "$body"
  retry_until 5 all_pass "$1" "$(count_services)" || : # with its next heartbeat
  expect "$product registered again by itself" 200 "any(.[]; .instance_id == \"$(label "$product")\")" \
    "$1/discover/product-service?all=1"
  expect 'GET /discover of an unknown name' 404 '.error == "Service not found"' "$1/discover/nobody"
}

verify_registration() { # BASE PRODUCT BODY_WITH_ANOTHER_NAME: what an instance may register
  local FROM=(in_namespace "${NAMESPACE[$2]}") OWN=(--interface "${ADDRESS[$2]%/*}") body
  local json='Content-Type: application/json'
  expect 'POST /register under another name is refused' 403 .error -H "$json" -d "$3" "$1/register"
  body=$(jq -c --arg id "$(label "$2")" '. + {name: "product-service", instance_id: $id, ttl: 3}' <<<"$3")
  expect 'POST /register' 200 '.status == "registered" and .service == "product-service"' \
    -H "$json" -d "$body" "$1/register"
  expect 'GET /services' 200 'has("product-service")' "$1/services"
  expect 'GET /discover/product-service' 200 '.health == "passing"' "$1/discover/product-service"
  expect 'DELETE /deregister' 200 '.status == "deregistered"' -X DELETE "$1/deregister/product-service/$(label "$2")"
}

# Resolve as the node's program does: in its container, as its user. Without a program, use `ip netns exec`, here only:
# it mounts the namespace's own resolv.conf.
resolve() { # NODE NAME
  local ask=(ip netns exec "${NAMESPACE[$1]}")
  ! services_are_meant_to_run || [[ ${RUNS[$1]} == - ]] || ask=(in_container "$1")
  "${ask[@]}" getent ahostsv4 "$2" | awk '$2 == "STREAM" { print $1 }' | sort | paste -sd' '
}

verify_names() {
  local asked node wanted seen
  asked=$(nodes_running product-service | sed -n 1p) # a name with several addresses, if there are products
  asked=$(registered_name "${asked:-$(nodes_running service-registry | sed -n 1p)}")
  wanted=$(for node in "${NODES[@]}"; do
    [[ ${RUNS[$node]} == - || $(registered_name "$node") != "$asked" ]] || echo "${ADDRESS[$node]%/*}"
  done | sort | paste -sd' ')
  for node in "${NODES[@]}"; do
    seen=$(resolve "$node" "$asked.lab") || seen=nothing
    if [[ $seen == "$wanted" ]]; then passed "$(printf '%-18s %s is %s' "$node" "$asked.lab" "$seen")"; else
      failed "$node: $asked.lab is ${seen:-nothing}, wanted $wanted"
    fi
  done
  if resolve "$node" nowhere.lab >/dev/null; then
    failed "nowhere.lab resolves, but no such name exists"
  else
    passed "nowhere.lab does not resolve"
  fi
}

verify_services() {
  local way_in port node
  title "Each service's own endpoints"
  verify_own_endpoints
  for node in $(nodes_running service-registry); do
    title "Discovery: $node"
    verify_discovery "http://${ADDRESS[$node]%/*}:${LISTENS[$node]%%/*}"
  done
  [[ -z $(dns_address) ]] || { title "Names: each namespace uses the DNS at $(dns_address)" && verify_names; }
  way_in=$(nodes_running nginx | sed -n 1p)
  [[ -n $way_in && ${PUBLISHES[$way_in]} != - ]] || return 0
  port=${PUBLISHES[$way_in]%%:*}
  title "The platform at http://localhost:$port"
  verify_way_in "http://localhost:$port"
  [[ -z $(nodes_running product-service) ]] || verify_products "http://localhost:$port"
  [[ -z $(nodes_running postgres) ]] || verify_orders "http://localhost:$port"
}
