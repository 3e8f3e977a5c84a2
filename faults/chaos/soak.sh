#!/usr/bin/env bash
# Soak: the lab under 100 requests a second for ten minutes; each process' memory and descriptors must stay flat.
#
#   faults/chaos/soak.sh [run]   in a sandbox of its own; MINUTES=10, from 1 to 60: under 6 no growth is judged;
#                         PER_SECOND=100 requests
#   faults/chaos/soak.sh help
#
# Results: reports/soak.csv, soak.png, soak_samples.csv. Exit 1 when a request failed, a process ended or grew.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib/topology.sh"
# shellcheck source=faults/chaos/lab.sh
source "$ROOT/faults/chaos/lab.sh"

export MINUTES=${MINUTES:-10} PER_SECOND=${PER_SECOND:-100} REPORTS=${REPORTS:-$ROOT/reports}

check_settings() {
  need_number MINUTES 1
  ((10#$MINUTES <= 60)) || die "MINUTES=$MINUTES: must be at most 60"
  need_number PER_SECOND 10
  need_folder REPORTS
}

inside() {
  local nodes=() node
  start_lab
  for node in "${NODES[@]}"; do [[ ${RUNS[$node]} == - ]] || nodes+=("$node=${NAMESPACE[$node]}"); done
  cd "$ROOT"
  "$VENV/bin/python" -m faults.chaos.soak --url "$(published)" --minutes "$MINUTES" --per-second "$PER_SECOND" \
    --reports "$REPORTS" --supervisor "$(<"$RUN_DIR/supervisord.pid")" "${nodes[@]}"
}

case ${1:-run} in
  run)
    check_settings
    run_in_sandbox up "$ROOT/faults/chaos/soak.sh" inside
    ;;
  inside) inside ;; # internal: runs in the sandbox
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
