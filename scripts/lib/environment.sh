# shellcheck shell=bash disable=SC2153 # maps of topology.sh
# The environment of each service, from the table. Sourced by supervise.sh.

urls_of() { # PROGRAM [PREFIX]: addresses of all nodes that run it, comma-separated
  local node list=''
  for node in $(nodes_running "$1"); do list+="${list:+,}${2-http://}${ADDRESS[$node]%/*}:$(port_of "$node")"; done
  echo "$list"
}

addresses_of() { # PROGRAM: of all nodes that run it, comma-separated
  local node list=''
  for node in $(nodes_running "$1"); do list+="${list:+,}${ADDRESS[$node]%/*}"; done
  echo "$list"
}

networks_of() { # PROGRAM: of all nodes that run it, comma-separated
  local node
  for node in $(nodes_running "$1"); do echo "${ADDRESS[${BRIDGE[$node]}]}"; done | sort -u | paste -sd,
}

first_address() { # PROGRAM
  local node
  node=$(nodes_running "$1" | sed -n 1p)
  echo "${ADDRESS[${node:-none}]%/*}"
}

first_port() {
  local node
  node=$(nodes_running "$1" | sed -n 1p)
  [[ -z $node ]] || port_of "$node"
}

LEASE_SECONDS=3

# Services that cannot register themselves, NAME=ADDRESS:PORT: the registry checks them by connecting. The stores accept
# only their clients, so they renew a lease instead: NAME=ADDRESS:PORT/SECONDS.
configured_services() {
  local node list=''
  for node in $(services); do
    case ${RUNS[$node]} in
      nginx | service-registry) list+="${list:+,}${LABEL[$node]}=${ADDRESS[$node]%/*}:$(port_of "$node")" ;;
      redis | postgres) list+="${list:+,}${LABEL[$node]}=${ADDRESS[$node]%/*}:$(port_of "$node")/$LEASE_SECONDS" ;;
    esac
  done
  echo "$list"
}

# Print the environment of a service as supervisord.conf has it, KEY="value". If the table has a registry, clients get
# addresses from it, which may change without a restart.
environment_of() { # NODE USER
  local setting list='' registry=() products=() orders=() registry_url
  local settings=("INSTANCE_ID=$1" "SERVICE_NAME=${RUNS[$1]}" "SERVICE_IP=${ADDRESS[$1]%/*}" "SERVICE_USER=$2"
    "SERVICE_PORT=$(port_of "$1")" LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1)
  registry_url=$(urls_of service-registry)
  if [[ -n $registry_url ]]; then registry=("SERVICE_REGISTRY=${registry_url%%,*}"); else
    products=("PRODUCT_SERVICE_URLS=$(urls_of product-service)") orders=("ORDER_SERVICE=$(urls_of order-service)")
  fi
  case ${RUNS[$1]} in
    redis | postgres)
      [[ -z $registry_url ]] || settings+=("HEARTBEAT=${registry_url%%,*}/heartbeat/${LABEL[$1]}/${LABEL[$1]}")
      ;;
  esac
  case ${RUNS[$1]} in
    nginx) settings+=("GATEWAYS=$(urls_of api-gateway '')" "UNLIMITED_CLIENTS=$(lab_networks)") ;;
    api-gateway) # all requests come from nginx's address
      settings+=(WORKER_CLASS=gevent WEB_CONCURRENCY=2 "UNLIMITED_CLIENTS=$(addresses_of nginx)")
      settings+=("${registry[@]}" "${products[@]}" "${orders[@]}")
      ;;
    product-service)
      settings+=(WORKER_CLASS=gevent "${registry[@]}")
      settings+=("REDIS_HOST=$(first_address redis)" "REDIS_PORT=$(first_port redis)")
      ;;
    order-service)
      settings+=("${registry[@]}" "${products[@]}" DB_NAME=orders DB_USER=orders)
      settings+=("DB_HOST=$(first_address postgres)" "DB_PORT=$(first_port postgres)")
      ;;
    postgres) settings+=("DB_CLIENTS=$(networks_of order-service)" DB_NAME=orders DB_USER=orders) ;;
    service-registry)
      settings+=(WORKER_CLASS=gevent "CONFIGURED=$(configured_services)" "OPERATORS=$(operators)" "OWNERS=$OWNERS")
      ! answers_dns "$1" || settings+=(DNS_PORT=53 "DNS_FORWARD=$(resolvers)")
      ;;
  esac
  for setting in "${settings[@]}"; do list+="${list:+,}${setting%%=*}=\"${setting#*=}\""; done
  echo "$list"
}

operators() { # addresses that may deregister any instance: the bridges', which are the host's
  local bridge list=''
  for bridge in "${BRIDGES[@]}"; do list+="${list:+,}${ADDRESS[$bridge]%/*}"; done
  echo "$list"
}

lab_networks() { # of all bridges, comma-separated; connections from localhost have a bridge's address
  local bridge list=''
  for bridge in "${BRIDGES[@]}"; do list+="${list:+,}$(network_cidr "${ADDRESS[$bridge]}")"; done
  echo "$list"
}
