#!/usr/bin/env bash
# Kill commands of the lab with SIGKILL, each with all its process group, at random moments. After each kill `up` must
# converge (exit 0, so everything is verified and proven) and `clean` must leave nothing of the lab on the host.
#
#   tests/lab/kills.sh COUNT SEED   in one sandbox: a line for each kill, then a summary; 1 if anything failed
#   tests/lab/kills.sh help
#
# The same seed gives the same commands, and the same shares of the time that each takes.

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib/common.sh"
# shellcheck source=tests/bats/inside.bash
source "$ROOT/tests/bats/inside.bash"

COMMANDS=("lab.sh up" "lab.sh down" "lab.sh policies" "lab.sh isolation" "lab.sh isolation back"
  "scale.sh product-service" monitor)
declare -A TAKES=(["lab.sh up"]=12000 ["lab.sh down"]=4000 ["lab.sh policies"]=5000 ["lab.sh isolation"]=18000
  ["lab.sh isolation back"]=18000 ["scale.sh product-service"]=5000 ["monitor"]=9000) # ms, corrected by whole runs
LOG=/run/kills.log BEFORE=/run/kills.before
FAILURES=0

milliseconds() { echo $((${EPOCHREALTIME/./} / 1000)); }

# Run COMMAND in a process group of its own and kill that after MILLISECONDS.
kill_after() { # COMMAND MILLISECONDS
  local pid begin words
  read -ra words <<<"$ROOT/scripts/$1"
  [[ $1 != monitor ]] || words=(env DURATION=4 "$ROOT/monitoring/monitor.sh" run)
  [[ $1 != scale* ]] || words+=("$SCALE_TO")
  begin=$(milliseconds)
  setsid "${words[@]}" &>/run/killed.log &
  pid=$!
  until process_ended "$pid" || (($(milliseconds) - begin >= $2)); do sleep 0.02; done
  if process_ended "$pid"; then TAKES[$1]=$(($(milliseconds) - begin)) ENDED=", it had ended"; fi
  kill -9 -- "-$pid" 2>/dev/null || : # it had ended
  wait "$pid" 2>/dev/null || :
}

# What of the lab is there, in a few words.
found() {
  local links
  links=$(ip -o link show group "$LINK_GROUP" 2>/dev/null | wc -l)
  printf '%d links, %d namespaces, %d rules, %d processes' "$links" "$(ip netns list | grep -cvw world)" \
    "$(iptables-save | grep -c CNET)" "$(($(pgrep -c .) - PROCESSES))"
}

fail() { # WHAT
  FAILURES=$((FAILURES + 1))
  printf '%s; ' "${RED}FAILED: $1$PLAIN"
  tail -n 20 "$LOG" >>"$LOG.failures"
}

is_up() { [[ -n $(ip -o link show group "$LINK_GROUP" 2>/dev/null) ]]; }

go_up() {
  local begin=$SECONDS
  if ! "$ROOT/scripts/lab.sh" up &>"$LOG"; then
    fail "up"
  elif ! "$ROOT/scripts/lab.sh" status &>"$LOG"; then fail "status after up"; fi
  printf 'up in %d s; ' $((SECONDS - begin))
}

# Files, control groups and whatever else pristine() does not look at.
lab_files() {
  local groups=(/sys/fs/cgroup/{,memory/,pids/}cnet/"$HOST")
  find /run/cnet /var/opt/cnet "$TMPDIR" "${groups[@]}" 2>/dev/null | grep -vx "$TMPDIR" || :
}
nothing_left() { pristine "$BEFORE" && [[ -z $(lab_files | tee /dev/stderr) ]]; }

clean() {
  local begin=$SECONDS
  if ! "$ROOT/scripts/lab.sh" clean &>"$LOG"; then
    fail "clean"
  elif ! retry 5 nothing_left &>"$LOG"; then fail "clean leaves something"; fi
  printf 'clean in %d s; ' $((SECONDS - begin))
}

one_kill() { # NUMBER COUNT
  local command=${COMMANDS[RANDOM % ${#COMMANDS[@]}]} share=$((RANDOM % 1000)) order=$((RANDOM % 2))
  local ENDED='' before moment
  SCALE_TO=$((RANDOM % 6 + 1))
  [[ $command == "lab.sh up" ]] || is_up || "$ROOT/scripts/lab.sh" up &>"$LOG" || fail "up before"
  moment=$((${TAKES[$command]} * share / 1000))
  printf '%d/%d %s: ' "$1" "$2" "$command"
  kill_after "$command" "$moment"
  printf 'killed at %d.%d s%s: %s; ' $((moment / 1000)) $((moment % 1000 / 100)) "$ENDED" "$(found)"
  before=$FAILURES
  if ((order)); then go_up && clean; else clean && go_up; fi
  if ((FAILURES == before)); then echo ok; else
    echo
    cat "$LOG.failures"
    rm "$LOG.failures"
    "$ROOT/scripts/lab.sh" clean &>/dev/null || :
  fi
}

inside() { # COUNT SEED
  local number
  export TMPDIR=/run/tmp REPORTS=/run/reports
  mkdir "$TMPDIR"
  HOST=$(stat -Lc %i /proc/self/ns/net)
  RANDOM=$2
  host_state >"$BEFORE"
  PROCESSES=$(pgrep -c .)
  for ((number = 1; number <= $1; number++)); do one_kill "$number" "$1"; done
  clean >/dev/null
  say "seed $2: $1 kills, $FAILURES failed, $SECONDS s"
  ((FAILURES == 0))
}

case ${1:-help} in
  inside) inside "$2" "$3" ;; # only for itself, in the sandbox
  help) print_help ;;
  *)
    [[ ${1:-} =~ ^[1-9][0-9]{0,4}$ && ${2:-} =~ ^[0-9]{1,5}$ ]] ||
      bad_usage "needs a number of kills (1 to 99999) and a seed (0 to 99999)"
    "$ROOT/scripts/sandbox.sh" run "$BASH" "$ROOT/tests/lab/kills.sh" inside "$1" "$2"
    ;;
esac
