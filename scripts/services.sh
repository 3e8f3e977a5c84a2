#!/usr/bin/env bash
# Phase 2, the programs: real nginx, gunicorn, Redis and PostgreSQL, each in its namespace, kept alive
# by one supervisor.
#
#   scripts/services.sh up              start what is not running, restart what changed, wait for all
#   scripts/services.sh down            stop all services and what is left of them; data stays
#   scripts/services.sh status          one line for each service; 1 if any is not as it should be
#   scripts/services.sh restart NODE    stop and start one
#   scripts/services.sh logs [NODE]     the last lines of one log or of all; FOLLOW=1 goes on,
#                                    RAW=1 prints the lines as they were written
#   scripts/services.sh check           look for what would be in the way, change nothing
#   scripts/services.sh clean           remove data, passwords and logs (when all is down)
#   scripts/services.sh help
#
# What a node runs is the column `runs` of the topology table. Data, logs and passwords: /var/opt/cnet.

# shellcheck source=scripts/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/topology.sh"
# shellcheck source=scripts/facts.sh
source "$(dirname "${BASH_SOURCE[0]}")/facts.sh"
# shellcheck source=scripts/names.sh
source "$(dirname "${BASH_SOURCE[0]}")/names.sh"
# shellcheck source=scripts/supervise.sh
source "$(dirname "${BASH_SOURCE[0]}")/supervise.sh"
# shellcheck source=scripts/limits.sh
source "$(dirname "${BASH_SOURCE[0]}")/limits.sh"
# shellcheck source=scripts/owners.sh
source "$(dirname "${BASH_SOURCE[0]}")/owners.sh"

HANGS_SECONDS=10
declare -A RAN=() # what the supervisor said of each node before `up`
START_SECONDS=60  # for all together; PostgreSQL's first start makes its files

services() { # nodes that run a program
  local node
  for node in "${NODES[@]}"; do [[ ${RUNS[$node]} == - ]] || echo "$node"; done
}

port_of() {
  local first=${LISTENS[$1]%%,*}
  echo "${first%/*}"
}

# What tells that a service is ready: HTTP services say so themselves, the stores by an open port.
ready() { # NODE
  local address=${ADDRESS[$1]%/*} port
  port=$(port_of "$1")
  case ${RUNS[$1]} in
    nginx) curl -fsS -m 2 -o /dev/null "http://$address:$port/health" ;;
    redis | postgres) timeout 1 "$BASH" -c "</dev/tcp/$address/$port" ;;
    *) curl -fsS -m 3 -o /dev/null "http://$address:$port/ready" ;;
  esac &>/dev/null
}

# The whole state of a service in a word, with what it says of that; "running" when all is well.
state_of() { # NODE SUPERVISOR_STATE PID
  [[ $2 == RUNNING ]] || { echo "${2,,}" && return; }
  case $(stat -Lc %i "/proc/$3/ns/net" 2>/dev/null) in
    "$(stat -Lc %i "/run/netns/${NAMESPACE[$1]}" 2>/dev/null)") ;;
    "$(stat -Lc %i /proc/self/ns/net)") echo starting && return ;; # contain.sh has not entered it yet
    *) echo astray && return ;;
  esac
  holds_secrets "$1" "$3" || { echo "old-password" && return; }
  local said=''
  case ${RUNS[$1]} in
    nginx | redis | postgres) ready "$1" && echo running && return ;;
    *) said=$(curl -sS -m 3 -w '\n%{http_code}' "http://${ADDRESS[$1]%/*}:$(port_of "$1")/ready" 2>&1) || : ;;
  esac
  case $said in
    *'"degraded"'*$'\n200') echo "degraded $(jq -r '.degraded | to_entries | map("\(.key): \(.value)") | join("; ")' <<<"${said%$'\n'*}")" ;;
    *$'\n200') echo running ;;
    *$'\n503') echo "not-ready $(jq -r '.error | ltrimstr("not ready: ")' <<<"${said%$'\n'*}")" ;;
    *) echo not-ready ;;
  esac
}

# Why a program is not well, by the last trouble in its log: the last line of an exception, not the traceback.
last_trouble() { # NODE
  tail -n 200 "$STATE_DIR/log/$1.log" 2>/dev/null | jq -Rr '
    . as $line | (fromjson? | objects | select(.level | IN("warning", "error", "critical")) |
      select(.message | startswith("a dependency does not answer: ") | not) |
      .message + (.exception // "" | split("\n") | map(select(. != "")) | if . == [] then "" else ": \(last)" end)),
    ($line | select(test("^[{ \t]|\\[ERROR\\] (Worker|Shutting down|Reason)|HaltServer") | not) | select(test("\\[(emerg|alert|crit|error)\\]|FATAL|PANIC|ERROR|Error|[Nn]o space|start.sh: ")))' |
    sed -n '$p' | cut -c 1-300 || : # there may be no log
}

# Make each password that is missing or damaged (a power loss can empty a file) and keep the others. The stores take a
# new password at their next start, so no data depends on an old one.
make_secrets() {
  local name password secrets=''
  install -d -m 755 "$STATE_DIR"
  for name in "${PASSWORDS[@]}"; do
    password=$(secret "$name")
    if [[ -z $password ]]; then
      [[ ! -e $STATE_DIR/secrets ]] || say "$STATE_DIR/secrets: $name is missing or damaged; made a new one"
      password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    fi
    secrets+="$name=$password"$'\n'
  done
  ! printf '%s' "$secrets" | cmp -s - "$STATE_DIR/secrets" || { chmod 600 "$STATE_DIR/secrets" && return; }
  (umask 077 && printf '%s' "$secrets" >"$STATE_DIR/secrets.new")
  sync "$STATE_DIR/secrets.new"
  mv "$STATE_DIR/secrets.new" "$STATE_DIR/secrets"
  sync "$STATE_DIR"
}

check_readable() { # services run as users of their own and must be able to read their code
  local closed
  closed=$(find "$ROOT/services" "$VENV" -maxdepth 2 \( -type d ! -perm -o=rx -o -type f ! -perm -o=r \) -print -quit)
  [[ -z $closed ]] || die "$closed is closed to other users, and services run as users of their own; chmod -R o+rX services .venv"
}

# What a program asks while it answers, and so never gets ready without. The cache is not among it.
declare -A ASKS=(["nginx"]=api-gateway ["api-gateway"]='product-service order-service' ["order-service"]='product-service postgres')

check_services() {
  [[ -n $(services) ]] || return 0
  local node asked
  for node in $(services); do
    [[ ${LISTENS[$node]} != - ]] || die "$TABLE:${LINE_OF[$node]}: listens: $node runs ${RUNS[$node]}, so it must listen on a port"
    for asked in ${ASKS[${RUNS[$node]}]:-}; do
      [[ -n $(nodes_running "$asked") ]] || die "$TABLE:${LINE_OF[$node]}: runs: ${RUNS[$node]} asks $asked, which no node runs"
    done
  done
  need_tools ip curl setpriv nsenter unshare nginx redis-server
  [[ -n $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null) ]] || need_tools postgres
  need_environment
  check_readable
  check_names
}

check_network() {
  [[ -z ${DRY_RUN:-} ]] || return 0 # it would be there by now
  local node
  for node in $(services); do
    [[ -e /run/netns/${NAMESPACE[$node]} ]] || die "there is no namespace ${NAMESPACE[$node]} yet; scripts/network.sh up"
  done
}

log_lines() { (cd "$ROOT" && exec python3 -m scripts.log_lines "$@"); } # [problems | repeated]

# One that ran already and does not answer hangs (or was frozen): it is started anew.
wait_for() { # NODE
  printf '  %-18s' "$1" >&2
  if [[ ${RAN[$1]:-} == RUNNING ]] && ! retry_until "$HANGS_SECONDS" ready "$1"; then
    say 'does not answer'
    supervisor_do restart "$1" >&2 || :
    printf '  %-18s' "$1" >&2
  fi
  # Do not ask a second time: another worker of the same service may not be ready yet.
  if retry_until "$((START_SECONDS - SECONDS))" ready_or_hopeless "$1" && [[ -z ${HOPELESS[$1]:-} ]]; then
    say "${GREEN}ready${PLAIN}  ${RUNS[$1]} at ${ADDRESS[$1]%/*}:$(port_of "$1")"
  else
    say "${RED}not ready after $SECONDS s${PLAIN}; what its log says (sudo make logs NODE=$1):"
    tail -n 200 -v "$STATE_DIR/log/$1.log" | log_lines problems >&2
    return 1
  fi
}

# A program that ended with the same error three times will do so again: looked for once a second.
LOOKED=0
declare -A HOPELESS=()
ready_or_hopeless() { # NODE
  ! ready "$1" || return 0
  ((SECONDS > LOOKED)) || return 1
  LOOKED=$SECONDS
  local ended
  ended=$(since "$STATE_DIR/log/supervisord.log" | grep -cE "(exited: $1 |$1 entered FATAL)") || return 1
  ((ended >= 3)) && since "$STATE_DIR/log/$1.log" | log_lines repeated >/dev/null && HOPELESS[$1]=1
}

declare -A LOG_SIZE=() # when this run began
note_log_sizes() {
  local file
  for file in "$STATE_DIR"/log/*.log; do LOG_SIZE[$file]=$(stat -c %s "$file" 2>/dev/null) || :; done
}
since() { tail -c "+$((${LOG_SIZE[$1]:-0} + 1))" "$1" 2>/dev/null || :; } # LOG

up() {
  local node state _
  need_root
  load_topology
  check_services
  [[ -n $(services) ]] || { say "no node of $TABLE runs a program" && return; }
  take_lock
  check_network
  [[ -z ${DRY_RUN:-} ]] || { supervisor_config && return; }
  make_secrets
  write_names
  while read -r node state _; do RAN[$node]=$state; done < <(supervisor_states)
  note_log_sizes
  "$ROOT/scripts/install.sh" common
  start_supervisor
  restart_astray
  local failed=() reason
  for node in $(services); do
    wait_for "$node" || { reason=$(last_trouble "$node") && failed+=("$node${reason:+ ($reason)}"); }
  done
  ((${#failed[@]} == 0)) || die "did not come up: ${failed[*]}; sudo make logs NODE=... shows why"
  retry_until 5 all_run || : # the supervisor believes it a second later
}
all_run() {
  local states
  states=$(supervisor_states | awk '$2 != "RUNNING"')
  [[ -z $states ]]
}

# The program of the store whose password a service does not know; a store takes its password at each start.
refusing_store() { # WHAT A SERVICE SAYS OF ITSELF
  case $1 in
    *'redis refused the password'*) echo redis ;;
    *'password authentication failed'*) echo postgres ;;
  esac
}

# NODE WORD, and the store that refuses it, a line each; all at once, for each may wait for an answer.
look_at_programs() {
  local node state pid word why
  while read -r node state pid; do
    {
      read -r word why < <(state_of "$node" "$state" "$pid")
      [[ $word != not-ready ]] || why=$(last_trouble "$node")
      echo "$node $word $(refusing_store "$why")"
    } &
  done
  wait
}

# A namespace that was made anew leaves its program in the old one; a new password, the old one in it. Instances of one
# program take turns, so that the others answer meanwhile.
restart_astray() {
  local node program word store
  local -A astray=()
  while read -r node word store; do
    [[ $word != @(astray|old-password) ]] || astray[${RUNS[$node]}]+=" $node"
    [[ -z $store || -n ${astray[$store]:-} ]] || astray[$store]=$(nodes_running "$store" | tr '\n' ' ')
  done < <(supervisor_states | look_at_programs)
  for program in "${!astray[@]}"; do
    for node in ${astray[$program]}; do
      supervisor_do restart "$node" || : # the supervisor goes on trying; the wait tells
      retry_until "$HANGS_SECONDS" ready "$node" || :
    done &
  done
  wait
}

down() {
  need_root
  need_tools ip jq
  if (load_topology) 2>/dev/null; then load_topology; fi
  take_lock
  stop_supervisor
  end_all_processes
  [[ -n ${DRY_RUN:-} ]] || retry_until 2 no_groups_left || :
  remove_names
  run rm -f "$CONFIG" # by which verify.sh knows that services are meant to run
}

# What the supervisor did not stop, or outlived it. Whatever else runs in these namespaces is somebody's own.
end_all_processes() {
  local namespaces pids signal
  mapfile -t namespaces < <(our_namespaces)
  for signal in TERM KILL; do
    mapfile -t pids < <(leftovers_in "${namespaces[@]}")
    ((${#pids[@]} > 0)) || return 0
    run kill "-$signal" "${pids[@]}" 2>/dev/null || : # some may have ended meanwhile
    [[ -z ${DRY_RUN:-} ]] || return 0
    ! retry_until 5 no_leftovers_in "${namespaces[@]}" || return 0
  done
  die "processes of the lab do not end: ${pids[*]}"
}

leftovers_in() { # NAMESPACE...
  local pid users
  users=" $(stat -c %u "$STATE_DIR"/nodes/* 2>/dev/null | paste -sd' ' || :) " # there are none before the first service
  processes_in "$@" | while read -r pid _; do ! is_of_lab "$pid" "$users" || echo "$pid"; done
}
no_leftovers_in() { [[ -z $(leftovers_in "$@") ]]; }

# A service's own user, or started by the supervisor or by a run that holds the lock (a proof's server, which was killed).
# nginx, Redis and PostgreSQL write their titles over their environment, but have the user.
is_of_lab() { # PID USERS
  local user environment
  user=$(awk '/^Uid:/ { print $2 }' "/proc/$1/status" 2>/dev/null) || return
  [[ $2 != *" $user "* || $user == 0 ]] || return 0
  environment=$'\n'$(tr '\0' '\n' 2>/dev/null <"/proc/$1/environ") || return
  [[ $environment == *$'\n'"SUPERVISOR_SERVER_URL=unix://$RUN_DIR/supervisor.sock"* || $environment == *$'\n'CNET_LOCKED=* ]]
}

status() {
  need_root
  load_topology
  local node state pid word stream streams=() drift=0
  local -A seen=()
  while read -r node state pid; do
    seen[$node]=1
    exec {stream}< <(show_state "$node" "$state" "$pid") # all at once: each may wait for an answer
    streams+=("$stream")
  done < <(supervisor_states)
  for stream in "${streams[@]}"; do
    word=$(cat <&"$stream")
    echo "$word"
    [[ $word == "${GREEN}running"* ]] || drift=1
  done
  ((${#seen[@]} > 0)) || [[ ! -e $CONFIG ]] || echo "${RED}stopped${PLAIN}    the supervisor does not run; programs that it started may still run"
  for node in $(services); do
    [[ -n ${seen[$node]:-} ]] || { echo "${RED}stopped${PLAIN}    $node" && drift=1; }
  done
  [[ -z $(names_drift) ]] || { names_drift && drift=1; }
  ! is_disk_full || { echo "${RED}disk-full${PLAIN}  no space left for $STATE_DIR: the stores cannot write; free some on $(df --output=target "$STATE_DIR" | tail -n 1)" && drift=1; }
  return "$drift"
}

is_disk_full() { [[ -d $STATE_DIR ]] && (($(df --output=avail "$STATE_DIR" | tail -n 1) < 8192)); }

show_state() { # NODE SUPERVISOR_STATE PID
  local word why trouble
  read -r word why < <(state_of "$@")
  [[ $word == running || $word == degraded ]] || { trouble=$(last_trouble "$1") && why+=${trouble:+${why:+; }last in its log: $trouble}; }
  [[ -z $(refusing_store "$why") ]] || why+="; sudo make up gives the store its password again"
  printf '%s%-10s%s %-18s %-16s %s:%s%s%s\n' "$([[ $word == running ]] && echo "$GREEN" || echo "$RED")" "$word" "$PLAIN" \
    "$1" "${RUNS[$1]:-?}" "${ADDRESS[$1]%/*}" "$(port_of "$1")" "${3:+  pid $(program_of "$3")}" "${why:+  $why}"
}

restart() {
  need_root
  load_topology
  [[ " $(services | tr '\n' ' ') " == *" ${1:-} "* ]] || bad_usage "restart needs one of: $(services | tr '\n' ' ')"
  take_lock
  supervisor_do restart "$1"
  wait_for "$1"
}

logs() {
  local files=("$STATE_DIR"/log/*.log)
  [[ -f ${files[0]} ]] || need_lab
  [[ -z ${1:-} ]] || files=("$STATE_DIR/log/$1.log")
  [[ -f ${files[0]} ]] || die "no log of $1; there are: $(cd "$STATE_DIR/log" && echo *.log | sed 's/\.log//g')"
  tail -v -n "${LINES_SHOWN:-20}" ${FOLLOW:+-F} "${files[@]}" | if [[ -n $RAW ]]; then cat; else log_lines; fi
}

clean() {
  need_root
  take_lock
  ! supervisor_runs || die "services still run; scripts/services.sh down"
  run rm -rf "$STATE_DIR"
}

case ${1:-help} in
  up | down | status | clean) "$1" ;;
  restart | logs) "$@" ;;
  check) load_topology && check_services ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
