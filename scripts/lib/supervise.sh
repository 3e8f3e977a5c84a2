# shellcheck shell=bash
# The supervisor (supervisord): its configuration from the table, its start and stop, and its commands. Sourced.

# shellcheck source=scripts/lib/passwords.sh
source "$ROOT/scripts/lib/passwords.sh"

CONFIG=$RUN_DIR/supervisord.conf
FIRST_USER=64100 # Debian assigns 60000-64999 on demand (Debian policy 9.2.2), so no account has these numbers

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
      nginx | service-registry) list+="${list:+,}$(label "$node")=${ADDRESS[$node]%/*}:$(port_of "$node")" ;;
      redis | postgres) list+="${list:+,}$(label "$node")=${ADDRESS[$node]%/*}:$(port_of "$node")/$LEASE_SECONDS" ;;
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
      [[ -z $registry_url ]] || settings+=("HEARTBEAT=${registry_url%%,*}/heartbeat/$(label "$1")/$(label "$1")")
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

supervisor_config() {
  cat <<EOF
[unix_http_server]
file=$RUN_DIR/supervisor.sock
chmod=0700
[supervisord]
logfile=$STATE_DIR/log/supervisord.log
pidfile=$RUN_DIR/supervisord.pid
user=root
umask=077
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://$RUN_DIR/supervisor.sock
EOF
  local node
  for node in $(services); do program_config "$node" "$(user_of "$node")"; done
}

# A node's user is the owner of its files, so a node keeps its number in every table; a new node gets the next number.
# The host has no name for it; the container has its own /etc/passwd.
user_of() { # NODE
  local files=$STATE_DIR/nodes user
  user=$(stat -c %u "$files/$1" 2>/dev/null) || user=0
  if ((user < FIRST_USER)); then
    user=$(stat -c %u "$files"/* 2>/dev/null |
      awk -v last="$FIRST_USER" '$1 > last { last = $1 } END { print last + 1 }') || :
    [[ -n ${DRY_RUN:-} ]] || install -d -m 700 -o "$user" "$files/$1"
  fi
  echo "$user"
}

program_config() { # NODE USER; PostgreSQL's fast shutdown is INT
  cat <<EOF
[program:$1]
command="$ROOT/scripts/contain.sh" start ${NAMESPACE[$1]} ${RUNS[$1]}
environment=$(environment_of "$1" "$2")
autorestart=true
startretries=1000000
stopsignal=$([[ ${RUNS[$1]} == postgres ]] && echo INT || echo TERM)
stopwaitsecs=15
killasgroup=true
redirect_stderr=true
stdout_logfile=$STATE_DIR/log/$1.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
EOF
}

# A frozen supervisor never answers, so each command has a deadline; stopping programs takes longest.
supervisorctl() {
  local seconds=60
  [[ $1 != pid && $1 != status ]] || seconds=10
  timeout --foreground "$seconds" "$VENV/bin/supervisorctl" -c "$CONFIG" "$@"
}

supervisor_runs() { [[ -S $RUN_DIR/supervisor.sock ]] && supervisorctl pid &>/dev/null; }

supervisor_do() {
  echo_command supervisorctl "$@"
  [[ -n ${DRY_RUN:-} ]] || supervisorctl "$@"
}

# NODE STATE PID, a line each.
supervisor_states() {
  supervisor_runs || return 0
  supervisorctl status | sed -E 's/^([^ ]+) +([A-Z]+) *(pid ([0-9]+).*)?.*/\1 \2 \4/' || [[ $? == 3 ]] # 3: not all run
}

# A service's user can enter its own folder, and list or read nothing else.
make_state_folders() {
  install -d -m 711 "$STATE_DIR" "$STATE_DIR/nodes"
  install -d -m 700 "$STATE_DIR/log"
}

# The process in a node's container. The supervisor knows its parent, scripts/lib/container.sh.
program_pid() { # NODE
  local parent
  parent=$(supervisorctl pid "$1") || return
  program_of "$parent"
}
program_of() { (($1 > 0)) && pgrep --newest --parent "$1"; } # PARENT

start_supervisor() {
  make_state_folders
  (umask 077 && supervisor_config >"$CONFIG.new")
  mv "$CONFIG.new" "$CONFIG"
  write_owners # before a new instance registers
  if supervisor_runs; then
    stop_others
    # A program may still be stopping if the run before was killed.
    retry_until 20 supervisor_do update ||
      die "the supervisor does not load its new configuration; see $STATE_DIR/log/supervisord.log"
    retry_until 20 none_is_stopping || die "a service does not stop; see $STATE_DIR/log/supervisord.log"
    local node state _
    while read -r node state _; do
      [[ $state != @(STOPPED|EXITED|FATAL) ]] || supervisor_do start "$node" || : # it tries again; `up` waits for it
    done < <(supervisor_states)
  else
    kill_supervisors
    rm -f "$RUN_DIR/supervisor.sock" "$RUN_DIR/supervisord.pid"
    end_processes service_processes # of a supervisor that was killed
    # A clean environment, and without our lock (descriptor 9), which it would keep.
    (umask 077 && run env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      "$VENV/bin/supervisord" -c "$CONFIG" 9>&-)
    retry_until 10 supervisor_runs || die "the supervisor did not start; see $STATE_DIR/log/supervisord.log"
  fi
}

none_is_stopping() { [[ $(supervisor_states) != *' STOPPING '* ]]; }

stop_others() { # those that are no longer in the table; at the same time: each finishes its requests first
  local node
  while read -r node _; do
    [[ -n ${RUNS[$node]:-} && ${RUNS[$node]} != - ]] || supervisor_do stop "$node" &
  done < <(supervisor_states)
  wait
}

# Kill a supervisor that does not answer or has no files left; it would restart its programs. Sandboxes have their own.
kill_supervisors() {
  local pid
  for pid in $(pgrep -f -- "bin/supervisord -c $CONFIG\$"); do
    [[ ! /proc/$pid/ns/mnt -ef /proc/self/ns/mnt ]] || run kill -KILL "$pid"
  done
}

stop_supervisor() {
  supervisor_runs || {
    kill_supervisors
    return 0
  }
  local pid
  pid=$(supervisorctl pid)
  supervisor_do stop all # at the same time; shutdown alone stops one after another
  supervisor_do shutdown
  [[ -z ${DRY_RUN:-} ]] || return 0
  retry_until 30 process_ended "$pid" || die "the supervisor (pid $pid) does not end"
}
