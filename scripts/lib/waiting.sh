# shellcheck shell=bash disable=SC2153 # maps of topology.sh
# Wait until a service is ready. Sourced after service_state.sh.

ANSWER_SECONDS=10          # seconds until `up` restarts a running service that does not answer
START_SECONDS=60           # for all together; PostgreSQL's first start creates its files
declare -A STATE_BEFORE=() # node -> supervisor's state before `up`

# Restart a service that was running but does not answer.
wait_until_ready() { # NODE
  name_node "$1"
  if [[ ${STATE_BEFORE[$1]:-} == RUNNING ]] && ! retry_until "$ANSWER_SECONDS" is_ready "$1"; then
    say 'does not answer'
    supervisor_do restart "$1" >&2 || :
    name_node "$1"
  fi
  # Do not check again: another worker of the same service may not be ready yet.
  if retry_until "$((START_SECONDS - SECONDS))" is_ready_or_failed "$1" && [[ -z ${FAILED[$1]:-} ]]; then
    [[ -n ${BRIEF:-} ]] || say "${GREEN}ready${PLAIN}  ${RUNS[$1]} at ${ADDRESS[$1]%/*}:$(port_of "$1")"
  else
    [[ -z ${BRIEF:-} ]] || BRIEF='' name_node "$1"
    say "${RED}not ready after $SECONDS s${PLAIN}; the errors in its log (sudo make logs NODE=$1):"
    tail -n 200 -v "$STATE_DIR/log/$1.log" | log_lines problems >&2
    return 1
  fi
}

# Begin a line about a node; with BRIEF show the line only while waiting.
name_node() { # NODE
  show_progress
  if [[ -n ${BRIEF:-} ]]; then show_progress "waiting for $1 ..."; else printf '  %-18s' "$1" >&2; fi
}

# Stop waiting for a program that ended three times with the same error. Check its log once a second.
LOG_CHECKED=0
declare -A FAILED=()
is_ready_or_failed() { # NODE
  ! is_ready "$1" || return 0
  ((SECONDS > LOG_CHECKED)) || return 1
  LOG_CHECKED=$SECONDS
  local ended
  ended=$(since "$STATE_DIR/log/supervisord.log" | grep -cE "(exited: $1 |$1 entered FATAL)") || return 1
  ((ended >= 3)) && since "$STATE_DIR/log/$1.log" | log_lines repeated >/dev/null && FAILED[$1]=1
}

declare -A LOG_SIZE=() # log -> its size when this run began
note_log_sizes() {
  local size file
  while read -r size file; do LOG_SIZE[$file]=$size; done < <(stat -c '%s %n' "$STATE_DIR"/log/*.log 2>/dev/null)
}
since() { tail -c "+$((${LOG_SIZE[$1]:-0} + 1))" "$1" 2>/dev/null || :; } # LOG
