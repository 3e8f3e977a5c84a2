# shellcheck shell=bash disable=SC2153 # maps of topology.sh
# The state of each service, in one word: the supervisor's report on its process, then the service's own report.
# Sourced after supervise.sh.

services() { # list nodes that run a program
  local node
  for node in "${NODES[@]}"; do [[ ${RUNS[$node]} == - ]] || echo "$node"; done
}

port_of() {
  local first=${LISTENS[$1]%%,*}
  echo "${first%/*}"
}

# An HTTP service reports whether it is ready; a store is ready when its port is open.
is_ready() { # NODE
  local address=${ADDRESS[$1]%/*} port path=${READY[${RUNS[$1]}]:-}
  port=$(port_of "$1")
  if [[ -n $path ]]; then curl -fsS -m 3 -o /dev/null "http://$(host_of "$1"):$port$path"; else
    timeout 1 "$BASH" -c "</dev/tcp/$address/$port"
  fi &>/dev/null
}

# Print a service's state in one word, and the reason after it; "running" if there is no problem.
state_of() { # NODE SUPERVISOR_STATE PID
  [[ $2 == RUNNING ]] || { echo "${2,,}" && return; }
  if [[ ! /proc/$3/ns/net -ef /run/netns/${NAMESPACE[$1]} ]]; then
    # contain.sh may not have entered the namespace yet
    if [[ /proc/$3/ns/net -ef /proc/self/ns/net ]]; then echo starting; else echo wrong-namespace; fi
    return
  fi
  holds_secrets "$1" "$3" || { echo "old-password" && return; }
  if [[ -n ${READY[${RUNS[$1]}]:-} ]]; then reported_state "$1"; elif is_ready "$1"; then echo running; else
    echo not-ready
  fi
}

reported_state() { # NODE
  local answer
  answer=$(curl -sS -m 3 -w '\n%{http_code}' "http://$(host_of "$1"):$(port_of "$1")${READY[${RUNS[$1]}]}" 2>&1) || :
  case $answer in
    *'"degraded"'*$'\n200')
      echo "degraded $(jq -r '.degraded | to_entries | map("\(.key): \(.value)") | join("; ")' <<<"${answer%$'\n'*}")"
      ;;
    *$'\n200') echo running ;;
    *$'\n503') echo "not-ready $(jq -r '.error | ltrimstr("not ready: ")' <<<"${answer%$'\n'*}")" ;;
    *) echo not-ready ;;
  esac
}

log_lines() { (cd "$ROOT" && exec python3 -m lab.log_lines "$@"); } # [problems | repeated | last-error]

# Print the last error in a service's log: of an exception its last line. Print nothing if there is no log.
last_error() { # NODE
  tail -n 200 "$STATE_DIR/log/$1.log" 2>/dev/null | log_lines last-error | cut -c 1-300 || :
}

# Print which store refuses a service's password; a store takes a new password at each start.
store_that_refuses() { # REPORT of the service
  case $1 in
    *'redis refused the password'*) echo redis ;;
    *'password authentication failed'*) echo postgres ;;
  esac
}

# From lines NODE SUPERVISOR_STATE PID print lines NODE STATE and the store that refuses it, in parallel: each may wait.
read_service_states() {
  local node state pid word why
  while read -r node state pid; do
    {
      read -r word why < <(state_of "$node" "$state" "$pid")
      [[ $word != not-ready ]] || why=$(last_error "$node")
      echo "$node $word $(store_that_refuses "$why")"
    } &
  done
  wait
}

show_state() { # NODE SUPERVISOR_STATE PID
  local word why error='' colour=$RED program=''
  read -r word why < <(state_of "$@")
  [[ $word != running ]] || colour=$GREEN
  [[ $word == running || $word == degraded ]] || error=$(last_error "$1")
  [[ -z ${3:-} ]] || program=$(program_of "$3") || : # it may have just ended
  why+=${error:+${why:+; }last error in its log: $error}
  [[ -z $(store_that_refuses "$why") ]] || why+="; sudo make up restarts the store with its current password"
  if [[ -n $JSON ]]; then program_as_json "$1" "$word" "$program" "$why" && return; fi
  printf '%s%-10s%s %-18s %-16s %s:%s%s%s\n' "$colour" "$word" "$PLAIN" "$1" "${RUNS[$1]:-?}" "${ADDRESS[$1]%/*}" \
    "$(port_of "$1")" "${program:+  pid $program}" "${why:+  $why}"
}

show_stopped() { # NODE
  if [[ -n $JSON ]]; then program_as_json "$1" stopped '' ''; else echo "${RED}stopped${PLAIN}    $1"; fi
}

program_as_json() { # NODE STATE PID WHY
  local age=''
  [[ -z $3 ]] || age=$(ps -o etimes= -p "$3") || : # it may have just ended
  jq -cn --arg node "$1" --arg program "${RUNS[$1]:-}" --arg address "${ADDRESS[$1]%/*}" --arg port "$(port_of "$1")" \
    --arg state "$2" --arg pid "$3" --arg age "${age// /}" --arg why "$4" '
    def known: if . == "" then null else . end; def number: known | if . then tonumber else . end;
    {programs: {node: $node, program: ($program | known), address: $address, port: ($port | number),
      state: $state, pid: ($pid | number), why: ($why | known),
      since: ($age | number | if . then now - . | floor | todate else . end)}}'
}
