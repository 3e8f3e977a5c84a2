#!/usr/bin/env bash
# How fast a capture becomes tables: ours against tshark, and tcpdump's text against a regular expression a line.
#
#   bench/analysis.sh run    1,000,000 packets, 5 rounds in turn; QUICK=1: 200,000 packets, 3 rounds
#   bench/analysis.sh help
#
# Then the memory of ten times as many packets, from a pipe: it must not grow. Each run is in reports/bench_analysis.csv.

# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

REPORTS=${REPORTS:-$ROOT/reports}
PACKETS=${PACKETS:-$([[ -n ${QUICK:-} ]] && echo 200000 || echo 1000000)}
ROUNDS=${ROUNDS:-$([[ -n ${QUICK:-} ]] && echo 3 || echo 5)}

python() { "$VENV/bin/python" -m "$@"; }

# Peak memory in MB of reading a stream of packets, in the same way for both sizes.
peak_of() { # PACKETS
  python bench.made_traffic "$1" | "$VENV/bin/python" -c '
import resource, sys
from monitoring.traffic.__main__ import main
main(["--only-csv", "--topology", "flat", "--reports", sys.argv[1], "-"])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)' "$FOLDER"
}

run_bench() {
  "$ROOT/scripts/install.sh" dev
  need_tools tcpdump tshark
  cd "$ROOT"
  FOLDER=$(mktemp -d)
  defer rm -rf "$FOLDER"
  mkdir -p "$REPORTS"
  say "making $PACKETS packets, as pcap and as text"
  python bench.made_traffic "$PACKETS" >"$FOLDER/capture.pcap"
  tcpdump -nnr "$FOLDER/capture.pcap" >"$FOLDER/capture.txt" 2>/dev/null
  echo "$PACKETS" >"$FOLDER/packets"
  wc -l <"$FOLDER/capture.txt" >"$FOLDER/lines"
  python bench.analysis "$FOLDER" "$ROUNDS" "$REPORTS/bench_analysis.csv"
  say "reading ten times as many packets from a pipe"
  echo "peak memory, from a pipe: $(peak_of "$PACKETS") MB for $PACKETS packets, $(peak_of $((10 * PACKETS))) MB for $((10 * PACKETS))"
}

case ${1:-help} in
  run) run_bench ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
