#!/usr/bin/env bash
# Exercises: repair a fault by hand; `check` tests what works afterwards.
#
#   faults/exercise.sh list             all exercises with your progress (JSON=1; REPORT=1: also in reports/)
#   faults/exercise.sh start [NAME]     break a lab in a sandbox, and open a shell in it (LEVEL=2 SEED=7 TOPOLOGY=tiers;
#                                       HERE=1: the lab that is up; JSON=1: print the result as JSON;
#                                       PAGE=1: also in the browser, beside the dashboard's map and a terminal)
#   faults/exercise.sh test [NAME...]   test the exercises in a sandbox (SEEDS=1,2,3; TOPOLOGY=tiers); without NAME all,
#                                       and write reports/confusion_TOPOLOGY.csv; PAIRS=20: apply two faults at once;
#                                       CHECK_SECONDS=12 gives each check more time on a busy machine;
#                                       SAMPLE=1: one right and one wrong repair of each fault
#   faults/exercise.sh check all        try what must work and what must not (--json)
#   faults/exercise.sh help
#
# In the shell: check, hint, reset, symptom, give-up, explain, help, each with --json; exit leaves, and deletes the
# sandbox. A second terminal: scripts/sandbox.sh enter. With HERE=1 leaving repairs the lab.
# NAME is a title of the list, or its words with dashes; default: the first exercise that you have not solved.
# The results are in ~/.local/state/container-networking-lab/exercises.json (or below XDG_STATE_HOME).
# docs/reference/exercises.md has all formats.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/topology.sh"
# shellcheck source=scripts/lib/outside.sh
source "$ROOT/scripts/lib/outside.sh"
# shellcheck source=scripts/lib/json.sh
source "$ROOT/scripts/lib/json.sh"
# shellcheck source=monitoring/page.sh
source "$ROOT/monitoring/page.sh"

UP=(security/policy.sh scripts/network.sh scripts/nat.sh scripts/services.sh)
REPORTS=${REPORTS:-$ROOT/reports}

python_module() { (cd "$ROOT" && "$VENV/bin/python" -m lab.as_command "$@"); } # MODULE ARGUMENT...

list() {
  SWITCHES=(REPORT) && read_switches
  need_environment
  python_module faults.exercises.listing ${JSON:+--json} ${REPORT:+--report "$REPORTS"} "$@"
}

start() { # [NAME]
  SWITCHES=(HERE PAGE) && read_switches
  local options=(${LEVEL:+--level "$LEVEL"} ${SEED:+--seed "$SEED"} ${HERE:+--here} ${JSON:+--json})
  [[ -z $PAGE ]] || publish_page
  if [[ -n $HERE ]]; then
    need_root
    need_environment
    unset TOPOLOGY POLICY # those of the running lab
    load_topology
    need_lab
  else
    need_environment
    load_table "${TOPOLOGY:-flat}"
    need_tools nsenter pgrep
  fi
  export TOPOLOGY=$TABLE
  trap - EXIT
  cd "$ROOT"
  exec "$VENV/bin/python" -m lab.as_command faults.exercises.session "${options[@]}" "$@"
}

# The dashboard runs in the sandbox; a port on this machine's loopback is forwarded to it.
publish_page() {
  local port=${DASHBOARD_PORT:-8050}
  [[ -z $HERE ]] || die "PAGE=1 is for an exercise in a sandbox; with HERE=1 use: sudo make dashboard TERMINAL=1"
  [[ $port =~ ^[1-9][0-9]{0,4}$ ]] || die "DASHBOARD_PORT=$port: must be a port"
  check_port "$port" ", or use another port: DASHBOARD_PORT=8051"
  export PUBLISH=$port${PUBLISH:+,$PUBLISH}
  options+=(--page "$port")
}

check() { # ARGUMENT...
  need_root
  need_environment
  load_topology
  need_lab
  export TOPOLOGY=$TABLE
  take_lock
  make_outside
  add_route_to_lab
  python_module faults.exercises.check ${JSON:+--json} "$@"
}

test_exercises() { # NAME...: in a sandbox
  [[ -z ${PAIRS:-} ]] || need_number PAIRS 1
  [[ ${SEEDS:-1} =~ ^[0-9]{1,9}(,[0-9]{1,9})*$ ]] || die "SEEDS=$SEEDS: must be whole numbers with commas between"
  [[ -z ${PAIRS:-} || ${SEEDS:-1} != *,* ]] || die "SEEDS=$SEEDS: with PAIRS it is one number, the first seed"
  "$ROOT/scripts/install.sh" up
  trap - EXIT
  exec "$ROOT/scripts/sandbox.sh" run "$ROOT/faults/exercise.sh" test_inside "$@"
}

test_inside() { # NAME...
  mount -t tmpfs -o size=600m tmpfs /var/opt
  bring_up 2>/dev/null
  if [[ -n ${PAIRS:-} ]]; then
    python_module faults.exercises.pairs "$PAIRS" "${SEEDS:-1}"
  else python_module faults.exercises.trial --seeds "${SEEDS:-1}" ${SAMPLE:+--sample} --reports "$REPORTS" "$@"; fi
}

bring_up() {
  local script begin
  for script in "${UP[@]}"; do
    begin=${EPOCHREALTIME/./}
    printf '  %-20s' "${script#*/}" >&2
    "$ROOT/$script" up &>"$STATE_DIR.up" || { echo && cat "$STATE_DIR.up" && exit 1; }
    printf '%4d ms\n' $(((${EPOCHREALTIME/./} - begin) / 1000)) >&2
  done
}

# Prepare a sandbox for an exercise. Cover files before the lab is up, because a container copies the list of mounts.
up_inside() {
  mount -t tmpfs -o size=600m tmpfs /var/opt
  install -d -m 700 /run/exercise
  discard_changes_of_files
  cover faults/catalogue tests .git scripts/diagnose.sh
  bring_up
}

# Mount an overlay over the checkout, so that the learner's changes are discarded. Some kernels allow that to root only.
discard_changes_of_files() {
  mkdir -p /run/exercise/tree/{upper,work}
  mount -t overlay -o "lowerdir=$ROOT,upperdir=/run/exercise/tree/upper,workdir=/run/exercise/tree/work" overlay \
    "$ROOT" 2>/dev/null || say "  files that you change in $ROOT stay changed: this kernel does not allow an overlay"
}

cover() { # PATH...
  local path
  for path; do
    if [[ -d $ROOT/$path ]]; then
      mount -t tmpfs -o size=16m,mode=755 tmpfs "$ROOT/$path"
    elif [[ -x $ROOT/$path ]]; then
      mount --bind "$ROOT/faults/exercises/covered.sh" "$ROOT/$path"
    elif [[ -e $ROOT/$path ]]; then mount --bind /dev/null "$ROOT/$path"; fi
  done
}

read_json "$@"
set -- "${WORDS[@]}"
case ${1:-help} in
  list | start | check) "$@" ;;
  test) test_exercises "${@:2}" ;;
  test_inside) test_inside "${@:2}" ;; # internal: runs in the sandbox
  up_inside) up_inside ;;              # internal: likewise
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
