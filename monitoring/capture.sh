#!/usr/bin/env bash
# Phase 3.1: tcpdump on the lab's bridges. A bridge in promiscuous mode sees each frame that any of its ports sends.
#
#   namespace ==veth== br-app ==veth== namespace      +--> reports/captures/traffic_log_YYYYmmdd_HHMMSS.pcap0, 1, ...
#                        |                            |
#                     tcpdump  -----------------------+
#
#   monitoring/capture.sh up [--text]              begin, in the background
#   monitoring/capture.sh down                     end; says what was captured, received and dropped; 1 if any was dropped
#   monitoring/capture.sh status                   what runs, and how much it has; 1 if nothing runs
#   monitoring/capture.sh run [SECONDS] [--text]   begin, wait so long or for Ctrl+C, end
#   monitoring/capture.sh files                    the last capture's files
#   monitoring/capture.sh help
#
# Pcap, headers only (SNAPLEN=256 bytes of a frame, 0: all), at most KEEP=10 files of ROTATE=50 MB a bridge: the oldest
# goes first. --text writes what tcpdump prints, for people; it is slow and grows without bound, so give it seconds.

# shellcheck source=scripts/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/topology.sh"

CAPTURES=${CAPTURES:-${REPORTS:-$ROOT/reports}/captures}
SNAPLEN=${SNAPLEN:-256} ROTATE=${ROTATE:-50} KEEP=${KEEP:-10}
BUFFER=65536 # KiB of the kernel's ring, for bursts
RUNNING=$RUN_DIR/capture
TEXT=

# What is routed from bridge to bridge is on both: each bridge takes what its own nodes send, and what comes from
# outside the lab, so that a packet is counted once.
filter_for() { # BRIDGE
  local bridge others=()
  for bridge in "${BRIDGES[@]}"; do
    [[ $bridge == "$1" ]] || others+=("src net $(network_cidr "${ADDRESS[$bridge]}")")
  done
  ((${#others[@]} == 0)) || printf 'not (%s)' "$(printf '%s\n' "${others[@]}" | paste -sd '|' | sed 's/|/ or /g')"
}

pid_of() { # BRIDGE: of the tcpdump that runs, none if it is gone and its number another's
  local pid file
  { read -r pid file <"$RUNNING/$1"; } 2>/dev/null || return 1
  [[ -r /proc/$pid/cmdline ]] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF -- "$file" && echo "$pid"
}

base_of() { # BRIDGE TIME
  local among=
  ((${#BRIDGES[@]} == 1)) || among=.$1
  echo "$CAPTURES/traffic_log_$2$among"
}

start_on() { # BRIDGE TIME
  local base arguments filter
  base=$(base_of "$1" "$2") filter=$(filter_for "$1")
  if [[ -n $TEXT ]]; then
    arguments=(-tttt -l)
    base+=.txt
  else
    arguments=(-w "$base.pcap" -C "$ROTATE" -W "$KEEP" -Z root)
    base+=.pcap
  fi
  arguments=(-i "$1" -nn -s "$SNAPLEN" -B "$BUFFER" "${arguments[@]}" ${filter:+"$filter"})
  echo_command tcpdump "${arguments[@]}"
  [[ -z ${DRY_RUN:-} ]] || return 0
  if [[ -n $TEXT ]]; then
    setsid tcpdump "${arguments[@]}" >"$base" 2>"$RUNNING/$1.log" 9>&- &
  else
    setsid tcpdump "${arguments[@]}" >/dev/null 2>"$RUNNING/$1.log" 9>&- &
  fi
  echo "$! $([[ -n $TEXT ]] && echo "$1" || echo "$base")" >"$RUNNING/$1"
  echo "$base" >>"$RUNNING/files"
  retry_until 5 grep -q 'listening on' "$RUNNING/$1.log" || die "tcpdump on $1: $(tail -1 "$RUNNING/$1.log")"
}

prepare() {
  need_root
  need_tools tcpdump ip jq
  load_topology
  need_lab
}

up() {
  prepare
  take_lock
  local bridge time
  for bridge in "${BRIDGES[@]}"; do
    [[ -z $(pid_of "$bridge") ]] || { say "a capture runs already; monitoring/capture.sh status" && return 0; }
  done
  time=$(date +%Y%m%d_%H%M%S)
  if [[ -z ${DRY_RUN:-} ]]; then
    mkdir -p "$CAPTURES" "$RUNNING"
    rm -f "$RUNNING"/*
  fi
  for bridge in "${BRIDGES[@]}"; do start_on "$bridge" "$time"; done
}

down() {
  need_root
  need_tools tcpdump
  load_topology
  take_lock
  local bridge pid ended=0
  # The kernel hands packets over in blocks, a second late at most (tcpdump's to_ms): what was sent until now is to be in.
  [[ -n ${DRY_RUN:-} ]] || read -rt 1.2 <> <(:) || :
  for bridge in "${BRIDGES[@]}"; do
    pid=$(pid_of "$bridge") || continue
    run kill -INT "$pid"
    [[ -n ${DRY_RUN:-} ]] || retry_until 10 gone "$pid" || die "tcpdump ($pid) does not end; kill -9 $pid"
    ended=1
  done
  [[ -z ${DRY_RUN:-} ]] || return 0
  ((ended)) || [[ -e $RUNNING/files ]] || { say "no capture runs" && return 0; }
  say_counts
  files | sed 's/^/  /' >&2
}

gone() { [[ ! -e /proc/$1 ]] || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# tcpdump's last words, summed over the bridges.
say_counts() {
  local counts dropped
  counts=$(cat "$RUNNING"/*.log 2>/dev/null | awk '
    / packets? captured$/ { captured += $1 } / received by filter$/ { received += $1 } / dropped by kernel$/ { dropped += $1 }
    END { printf "%d captured, %d received by filter, %d dropped by kernel", captured, received, dropped }')
  say "packets: $counts"
  dropped=${counts##*filter, }
  [[ ${dropped%% *} == 0 ]] || { say "${YELLOW}some were dropped: the disk or this machine is too slow; SNAPLEN=96 takes less${PLAIN}" && return 1; }
}

files() {
  local base
  while read -r base; do compgen -G "$base*" || :; done 2>/dev/null <"$RUNNING/files" | sort -V
}

status() {
  prepare
  local bridge pid runs=0
  for bridge in "${BRIDGES[@]}"; do
    pid=$(pid_of "$bridge") || continue
    runs=1
    printf '%s: tcpdump (%s) since %s\n' "$bridge" "$pid" "$(ps -o lstart= -p "$pid")"
  done
  ((runs)) || { say "no capture runs" && return 1; }
  files | xargs -r du -h
}

run_for() { # SECONDS, none: until Ctrl+C
  local end=$((SECONDS + ${1:-0}))
  up
  [[ -z ${DRY_RUN:-} ]] || return 0
  trap 'INTERRUPTED=1' INT TERM
  INTERRUPTED=
  say "capturing${1:+ for $1 s}; Ctrl+C ends it"
  until [[ -n $INTERRUPTED ]] || { [[ -n ${1:-} ]] && ((SECONDS >= end)); }; do
    sleep 0.2 &
    wait $! || :
  done
  trap - INT TERM
  down
}

COMMAND=${1:-help}
shift || :
WANTED=
for argument; do
  case $argument in
    --text) TEXT=1 ;;
    *[!0-9]* | '' | ???????*) bad_usage "\"$argument\" is neither --text nor a number of seconds" ;;
    *)
      [[ $COMMAND == run ]] || bad_usage "only run takes seconds"
      WANTED=$argument
      ;;
  esac
done
case $COMMAND in
  up | down | status | files) "$COMMAND" ;;
  run) run_for ${WANTED:+"$WANTED"} ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$COMMAND\"" ;;
esac
