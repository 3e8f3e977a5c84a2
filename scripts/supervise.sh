# shellcheck shell=bash
# The supervisor (supervisord): its configuration from the table, and what is asked of it. Sourced.

CONFIG=$RUN_DIR/supervisord.conf
FIRST_USER=64100 # numbers that belong to nobody (Debian keeps 60000-64999 for use on demand)

urls_of() { # PROGRAM [PREFIX]: addresses of all nodes that run it, comma-separated
  local node list=''
  for node in $(nodes_running "$1"); do list+="${list:+,}${2-http://}${ADDRESS[$node]%/*}:$(port_of "$node")"; done
  echo "$list"
}

first_address() { # PROGRAM
  local node
  node=$(nodes_running "$1" | head -1)
  echo "${ADDRESS[${node:-none}]%/*}"
}

first_port() {
  local node
  node=$(nodes_running "$1" | head -1)
  [[ -z $node ]] || port_of "$node"
}

# The environment of a service, KEY="value" as supervisord.conf wants it; names as in the specification.
environment_of() { # NODE USER
  local settings=("INSTANCE_ID=$1" "SERVICE_IP=${ADDRESS[$1]%/*}" "SERVICE_PORT=$(port_of "$1")" "SERVICE_USER=$2"
  "SERVICE_REGISTRY=$(urls_of service-registry)" LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1) setting list=''
  case ${RUNS[$1]} in
    nginx) settings+=("GATEWAYS=$(urls_of api-gateway '')") ;;
    api-gateway) settings+=(WORKER_CLASS=gevent WEB_CONCURRENCY=2 "PRODUCT_SERVICE_URLS=$(urls_of product-service)" "ORDER_SERVICE=$(urls_of order-service)") ;;
    product-service) settings+=(WORKER_CLASS=gevent "REDIS_HOST=$(first_address redis)" "REDIS_PORT=$(first_port redis)") ;;
    order-service) settings+=("DB_HOST=$(first_address postgres)" "DB_PORT=$(first_port postgres)" DB_NAME=orders DB_USER=orders) ;;
    postgres) settings+=("DB_CLIENTS=${ADDRESS[${BRIDGE[$1]}]}" DB_NAME=orders DB_USER=orders) ;;
  esac
  for setting in "${settings[@]}"; do list+="${list:+,}${setting%%=*}=\"${setting#*=}\""; done
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
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://$RUN_DIR/supervisor.sock
EOF
  local node user=$FIRST_USER
  for node in $(services); do
    user=$((user + 1))
    program_config "$node" "$([[ ${RUNS[$node]} == postgres ]] && echo postgres || echo "$user")"
  done
}

program_config() { # NODE USER; PostgreSQL takes no user without a name, and stops fast at INT
  cat <<EOF
[program:$1]
command=$ROOT/scripts/contain.sh start ${NAMESPACE[$1]} ${RUNS[$1]}
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

supervisorctl() { "$VENV/bin/supervisorctl" -c "$CONFIG" "$@"; }

supervisor_runs() { [[ -S $RUN_DIR/supervisor.sock ]] && supervisorctl pid &>/dev/null; }

supervisor_do() {
  echo_command supervisorctl "$@"
  supervisorctl "$@"
}

# NODE STATE PID, a line each.
supervisor_states() {
  supervisor_runs || return 0
  supervisorctl status | sed -E 's/^([^ ]+) +([A-Z]+) *(pid ([0-9]+).*)?.*/\1 \2 \4/' || [[ $? == 3 ]] # 3: not all run
}

start_supervisor() {
  install -d "$RUN_DIR" "$STATE_DIR/log" "$STATE_DIR/nodes"
  supervisor_config >"$CONFIG.new"
  mv "$CONFIG.new" "$CONFIG"
  if supervisor_runs; then
    supervisor_do update
    local node state _
    while read -r node state _; do
      [[ $state != STOPPED && $state != EXITED && $state != FATAL ]] || supervisor_do start "$node" || : # it goes on trying; the wait tells
    done < <(supervisor_states)
  else
    rm -f "$RUN_DIR/supervisor.sock" "$RUN_DIR/supervisord.pid"
    end_all_processes # of a supervisor that was killed
    # An environment of its own, and not our lock (descriptor 9), which it would keep.
    run env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$VENV/bin/supervisord" -c "$CONFIG" 9>&-
    retry_until 10 supervisor_runs || die "the supervisor did not start; see $STATE_DIR/log/supervisord.log"
  fi
}

stop_supervisor() {
  supervisor_runs || return 0
  local pid
  pid=$(supervisorctl pid)
  supervisor_do stop all # at once; shutdown alone stops one after the other
  supervisor_do shutdown
  retry_until 30 process_ended "$pid" || die "the supervisor (pid $pid) does not end"
}
process_ended() { [[ ! -e /proc/$1 ]] || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }
