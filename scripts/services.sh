#!/usr/bin/env bash
# Phase 2, the programs: nginx, gunicorn, Redis and PostgreSQL, each in its namespace, kept running by one supervisor.
#
#   scripts/services.sh up              start what is not running, restart what changed, wait for all
#   scripts/services.sh down            stop all services and end their processes; data stays
#   scripts/services.sh status          one line for each service; exit 1 if any is not running and ready (--json: an
#                                       object for each, for lab.sh)
#   scripts/services.sh restart NODE    stop and start one
#   scripts/services.sh logs [NODE]     the last lines of one log or of all (FOLLOW=1: and new ones; RAW=1: as written)
#   scripts/services.sh check           check what `up` needs, change nothing
#   scripts/services.sh clean           remove data, passwords and logs (when all is down)
#   scripts/services.sh help
#
# The column `runs` of the topology table selects the programs. Data, logs and passwords: /var/opt/cnet.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/topology.sh"
# shellcheck source=scripts/lib/names.sh
source "$ROOT/scripts/lib/names.sh"
# shellcheck source=scripts/lib/supervise.sh
source "$ROOT/scripts/lib/supervise.sh"
# shellcheck source=scripts/lib/limits.sh
source "$ROOT/scripts/lib/limits.sh"
# shellcheck source=scripts/lib/processes.sh
source "$ROOT/scripts/lib/processes.sh"
# shellcheck source=scripts/lib/owners.sh
source "$ROOT/scripts/lib/owners.sh"
# shellcheck source=scripts/lib/service_state.sh
source "$ROOT/scripts/lib/service_state.sh"
# shellcheck source=scripts/lib/waiting.sh
source "$ROOT/scripts/lib/waiting.sh"
# shellcheck source=scripts/lib/json.sh
source "$ROOT/scripts/lib/json.sh"

check_readable() { # each service's user must be able to read the code
  local closed
  closed=$(find "$ROOT/services" "$VENV" -maxdepth 2 \( -type d ! -perm -o=rx -o -type f ! -perm -o=r \) -print -quit)
  [[ -z $closed ]] ||
    die "other users cannot read $closed, but each service runs as its own user; chmod -R o+rX services .venv"
}

check_services() {
  [[ -n $(services) ]] || return 0
  local node needed
  for node in $(services); do
    [[ ${LISTENS[$node]} != - ]] ||
      die "$TABLE:${LINE_OF[$node]}: listens: $node runs ${RUNS[$node]}, so it must listen on a port"
    for needed in ${NEEDS[${RUNS[$node]}]}; do
      [[ -n $(nodes_running "$needed") ]] ||
        die "$TABLE:${LINE_OF[$node]}: runs: ${RUNS[$node]} needs $needed, which no node runs"
    done
  done
  need_tools ip curl setpriv nsenter unshare nginx redis-server
  [[ -n $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null) ]] || need_tools postgres
  need_environment
  check_readable
  check_names
}

check_network() {
  [[ -z ${DRY_RUN:-} ]] || return 0 # network.sh has not created the namespace
  local node
  for node in $(services); do
    [[ -e /run/netns/${NAMESPACE[$node]} ]] ||
      die "there is no namespace ${NAMESPACE[$node]} yet; scripts/network.sh up"
  done
}

up() {
  local node state _
  need_root
  load_topology_and_services
  check_services
  [[ -n $(services) ]] || { say "no node of $TABLE runs a program" && return; }
  take_lock
  check_network
  [[ -z ${DRY_RUN:-} ]] || { supervisor_config && return; }
  make_secrets
  write_names
  while read -r node state _; do STATE_BEFORE[$node]=$state; done < <(supervisor_states)
  note_log_sizes
  "$ROOT/scripts/install.sh" common
  start_supervisor
  restart_outdated
  local failed=() reason
  for node in $(services); do
    wait_until_ready "$node" || { reason=$(last_error "$node") && failed+=("$node${reason:+ ($reason)}"); }
  done
  [[ -z ${BRIEF:-} ]] || show_progress
  ((${#failed[@]} == 0)) || die "did not come up: ${failed[*]}; $DIAGNOSE"
  [[ -z ${BRIEF:-} ]] || say "  ${GREEN}ready${PLAIN}  $(count "$(services | wc -l)" program)"
  retry_until 5 all_run || : # the supervisor reports RUNNING after a second
}
all_run() {
  local states
  states=$(supervisor_states | awk '$2 != "RUNNING"')
  [[ -z $states ]]
}

# Restart programs in a deleted namespace or with an old password. Instances of one program one after another, so that
# the others answer meanwhile.
restart_outdated() {
  local node program word store
  local -A outdated=()
  while read -r node word store; do
    [[ $word != @(wrong-namespace|old-password) ]] || outdated[${RUNS[$node]}]+=" $node"
    [[ -z $store || -n ${outdated[$store]:-} ]] || outdated[$store]=$(nodes_running "$store" | tr '\n' ' ')
  done < <(supervisor_states | read_service_states)
  for program in "${!outdated[@]}"; do
    for node in ${outdated[$program]}; do
      supervisor_do restart "$node" || : # the supervisor tries again; `up` waits for the program
      retry_until "$ANSWER_SECONDS" is_ready "$node" || :
    done &
  done
  wait
}

down() {
  need_root
  need_tools ip jq curl
  if (load_topology) 2>/dev/null; then load_topology; fi
  take_lock
  stop_supervisor
  end_processes service_processes
  [[ -n ${DRY_RUN:-} ]] || retry_until 2 no_groups_left || :
  remove_names
  run rm -f "$CONFIG" # verify.sh checks the services while this file exists
}

status() {
  need_root
  load_topology_and_services
  local node state pid word stream streams=() drift=0
  local -A seen=()
  while read -r node state pid; do
    seen[$node]=1
    exec {stream}< <(show_state "$node" "$state" "$pid") # in parallel, because each may wait for an answer
    streams+=("$stream")
  done < <(supervisor_states)
  for stream in "${streams[@]}"; do
    IFS= read -r word <&"$stream" || :
    echo "$word"
    [[ $word == "${GREEN}running"* || $word == *'"state":"running"'* ]] || drift=1
  done
  for node in $(services); do
    [[ -n ${seen[$node]:-} ]] || { show_stopped "$node" && drift=1; }
  done
  ((${#seen[@]} > 0)) || [[ ! -e $CONFIG ]] ||
    show_differences <<<"${RED}stopped${PLAIN}    the supervisor does not run; programs that it started may still run"
  ! names_drift | show_differences | grep . || drift=1
  show_full_disk | show_differences || drift=1
  return "$drift"
}
show_differences() { if [[ -n $JSON ]]; then differences_as_json drift; else cat; fi; }

show_full_disk() {
  [[ -d $STATE_DIR ]] && (($(df --output=avail "$STATE_DIR" | tail -n 1) < 8192)) || return 0
  echo "${RED}disk-full${PLAIN}  no space for $STATE_DIR: the stores cannot write; free some on" \
    "$(df --output=target "$STATE_DIR" | tail -n 1)"
  return 1
}

restart() {
  need_root
  load_topology_and_services
  [[ " $(services | tr '\n' ' ') " == *" ${1:-} "* ]] || bad_usage "restart needs one of: $(services | tr '\n' ' ')"
  take_lock
  supervisor_do restart "$1"
  wait_until_ready "$1"
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
  up | down | clean) "$1" ;;
  status) read_json "${@:2}" && status ;;
  restart | logs) "$@" ;;
  check) load_topology_and_services && check_services ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
