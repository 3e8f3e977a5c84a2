#!/usr/bin/env bash
# Measure the time to analyse a capture: ours against tshark, and tcpdump's text against a regular expression a line.
#
#   bench/analysis/run.sh run    1,000,000 packets, 5 rounds in turn; QUICK=1: 200,000 packets, 3 rounds
#   bench/analysis/run.sh help
#
# With texts of several sizes that tcpdump -X printed, up to 100 MB: the time must be linear in the size, the memory
# constant (reports/bench_analysis.png). BEFORE=COMMIT measures an earlier commit in turn with this one.
# Then the memory of ten times as many packets, from a pipe. Each run is in reports/bench_analysis.csv.
# --json (or JSON=1) prints JSON.

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib/common.sh"
# shellcheck source=scripts/lib/json.sh
source "$ROOT/scripts/lib/json.sh"

REPORTS=${REPORTS:-$ROOT/reports}
PACKETS=${PACKETS:-$([[ -n ${QUICK:-} ]] && echo 200000 || echo 1000000)}
ROUNDS=${ROUNDS:-$([[ -n ${QUICK:-} ]] && echo 3 || echo 5)}
PACKETS_OF_A_MEGABYTE=950 # packets in 1 MB of tcpdump -X text
BODY=1200                 # bytes of an HTTP answer in the capture

python() { "$VENV/bin/python" -m "$@"; }

# Peak memory in MB of reading a stream of packets, in the same way for both sizes.
peak_of() { # PACKETS
  python bench.analysis.made_traffic "$1" | "$VENV/bin/python" -c '
import resource, sys
from monitoring.traffic.__main__ import main
main(["--only-csv", "--topology", "flat", "--reports", sys.argv[1], "-"])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)' "$FOLDER"
}

make_captures() {
  say "making $PACKETS packets, as pcap and as text"
  python bench.analysis.made_traffic "$PACKETS" >"$FOLDER/capture.pcap"
  tcpdump -nnr "$FOLDER/capture.pcap" >"$FOLDER/capture.txt" 2>/dev/null
  local megabytes
  for megabytes in $([[ -n ${QUICK:-} ]] && echo 5 10 20 || echo 12 25 50 100); do
    python bench.analysis.made_traffic $((megabytes * PACKETS_OF_A_MEGABYTE)) "$BODY" |
      tcpdump -nnXr - >"$FOLDER/hex_$megabytes.txt" 2>/dev/null
  done
}

# Check out the tree of the commit BEFORE.
check_out_before() {
  git -C "$ROOT" rev-parse --verify --quiet "$BEFORE^{commit}" >/dev/null ||
    die "BEFORE=$BEFORE is not a commit; see git log --oneline"
  mkdir "$FOLDER/before"
  git -C "$ROOT" archive "$BEFORE" | tar -x -C "$FOLDER/before"
}

run_bench() {
  local peaks
  divert_text
  "$ROOT/scripts/install.sh" dev
  need_tools tcpdump tshark
  cd "$ROOT"
  FOLDER=$(mktemp -d)
  defer rm -rf "$FOLDER"
  mkdir -p "$REPORTS"
  [[ -z ${BEFORE:-} ]] || check_out_before
  make_captures
  python bench.analysis.measure "$FOLDER" "$ROUNDS" "$REPORTS"
  say "reading ten times as many packets from a pipe"
  peaks=("$(peak_of "$PACKETS")" "$(peak_of $((10 * PACKETS)))")
  python lab.as_command bench.analysis.report "$REPORTS/bench_analysis.csv" "$REPORTS/bench_analysis.png" \
    "$PACKETS" "$(wc -l <"$FOLDER/capture.txt")" "${peaks[@]}" ${JSON:+--json} >&"$DOCUMENT"
}

read_json "$@"
set -- "${WORDS[@]}"
case ${1:-help} in
  run) run_bench ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
