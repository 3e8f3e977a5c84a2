#!/usr/bin/env bash
# Phase 3.1: tcpdump on the lab's wires, each packet once: where a node sent it, or where the host sent it into the lab.
#
#   namespace ==veth==> | br-app | <==veth== namespace     +--> reports/captures/traffic_log_YYYYmmdd_HHMMSS.pcap0, 1, ...
#               in      |   ^    |      in                 |
#                           | out: from the host and the world
#                        tcpdump -i any -----------------+
#
#   monitoring/capture.sh up [--text]              begin, in the background
#   monitoring/capture.sh down                     end; says what was captured, received and dropped; 1 if any was dropped
#   monitoring/capture.sh status                   what runs, and how much it has; 1 if nothing runs
#   monitoring/capture.sh run [SECONDS] [--text]   begin, wait so long or for Ctrl+C, end
#   monitoring/capture.sh files                    the last capture's files
#   monitoring/capture.sh filter                   which packets: a filter for tcpdump -i any
#   monitoring/capture.sh help
#
# A capture holds what was sent, passwords too: its files are for root alone, in a folder for root alone.
# Pcap, headers only (SNAPLEN=256 bytes of a frame, 0: all), at most KEEP=10 files of ROTATE=50 MB: the oldest goes
# first. --text writes what tcpdump prints, for people; it is slow and grows without bound, so give it seconds.

# shellcheck source=scripts/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/topology.sh"
# shellcheck source=scripts/lib/processes.sh
source "$ROOT/scripts/lib/processes.sh"

OTHER_FOLDER=${CAPTURES:-}
CAPTURES=${CAPTURES:-${REPORTS:-$ROOT/reports}/captures}
SNAPLEN=${SNAPLEN:-256} ROTATE=${ROTATE:-50} KEEP=${KEEP:-10}
BUFFER=65536 # KiB of the kernel's ring, for bursts
RUNNING=$RUN_DIR/capture
TEXT=

# Not `-i br-app`: that makes the bridge promiscuous, so that it hands the host a copy of each frame, and what is copied
# meets the host's rules a second time. A node's frames come in at its port of the bridge; what the host sends, or
# routes from outside the lab, goes out at the bridge (what it routes from another bridge came in at a port already).
filter() {
  local ports bridges bridge networks=() hosts=()
  ports=$(ip -j link show group "$LINK_GROUP" | jq -r '.[] | select(.master) | .ifindex')
  [[ -n $ports ]] || die "no node is on a bridge; sudo make network"
  bridges=$(for bridge in "${BRIDGES[@]}"; do ip -j link show dev "$bridge" | jq -r '.[0].ifindex'; done)
  for bridge in "${BRIDGES[@]}"; do
    networks+=("src net $(network_cidr "${ADDRESS[$bridge]}")")
    hosts+=("src host ${ADDRESS[$bridge]%/*}")
  done
  printf '(inbound and (%s)) or (outbound and (%s) and (not (%s) or %s))\n' "$(either "ifindex " "$ports")" \
    "$(either "ifindex " "$bridges")" "$(either "" "$(printf '%s\n' "${networks[@]}")")" "$(either "" "$(printf '%s\n' "${hosts[@]}")")"
}

either() { # PREFIX LINES: "PREFIXa or PREFIXb"
  local line words=()
  while read -r line; do words+=("$1$line"); done <<<"$2"
  printf '%s' "${words[0]}"
  ((${#words[@]} == 1)) || printf ' or %s' "${words[@]:1}"
}

pid() { # of the tcpdump that runs: it holds a lock on this file for as long as it lives
  [[ ! -e $RUNNING/pid ]] || flock --nonblock --shared "$RUNNING/pid" true || cat "$RUNNING/pid"
}

start() {
  local base arguments output=/dev/null bound=()
  base=$CAPTURES/traffic_log_$(date +%Y%m%d_%H%M%S)
  if [[ -n $TEXT ]]; then
    base+=.txt output=$base
    arguments=(-tttt -l)
  else
    base+=.pcap
    arguments=(-w "$base" -C "$ROTATE" -W "$KEEP" -Z root)
  fi
  arguments=(-i any -nn -s "$SNAPLEN" -B "$BUFFER" "${arguments[@]}" "$(filter)")
  echo_command tcpdump "${arguments[@]}"
  [[ -z ${DRY_RUN:-} ]] || return 0
  [[ $COMMAND != run ]] || bound=(setpriv --pdeathsig TERM) # killed, this script takes tcpdump along
  exec 8>"$RUNNING/pid"
  flock 8
  setsid "${bound[@]}" tcpdump "${arguments[@]}" >"$output" 2>"$RUNNING/log" 9>&- &
  echo "$!" >&8
  exec 8>&-
  echo "$base" >"$RUNNING/file"
  retry_until 5 listens || die "tcpdump: $(tail -1 "$RUNNING/log")"
}

listens() { grep -qs 'listening on' "$RUNNING/log"; } # the log is there a moment later

# The folder of its own is closed even if it was open before; another one, that was there, stays as it was.
make_folders() {
  [[ -n $OTHER_FOLDER && -d $CAPTURES ]] || install -d -m 700 "$CAPTURES"
  install -d -m 700 "$RUNNING"
  rm -f "$RUNNING"/*
  find "$CAPTURES" -maxdepth 1 -name 'traffic_log_*' -type f -exec chmod go= {} +
  umask 077
}

prepare() {
  need_root
  need_tools tcpdump ip jq flock setpriv
  load_topology
  need_lab
}

up() {
  prepare
  take_lock
  [[ -z $(pid) ]] || { say "a capture runs already; monitoring/capture.sh status" && return 0; }
  [[ -n ${DRY_RUN:-} ]] || make_folders
  start
}

down() {
  need_root
  need_tools tcpdump
  local number
  number=$(pid)
  if [[ -n $number ]]; then
    # The kernel hands packets over in blocks, a second late at most (tcpdump's to_ms): what was sent is to be in.
    [[ -n ${DRY_RUN:-} ]] || read -rt 1.2 <> <(:) || :
    run kill -INT "$number"
    [[ -n ${DRY_RUN:-} ]] || retry_until 10 process_ended "$number" || die "tcpdump ($number) does not end; kill -9 $number"
  fi
  [[ -z ${DRY_RUN:-} ]] || return 0
  [[ -e $RUNNING/log ]] || { say "no capture runs" && return 0; }
  local failed=0
  say_counts || failed=1
  files | sed 's/^/  /' >&2
  rm -f "$RUNNING/log" # so that a second `down` does not print these counts again
  return "$failed"
}

# The packets in the files of the capture. tcpdump itself reports no error of write(2) before its counts, so they are
# counted. Prints nothing for text, and when old files may have been overwritten (rotation).
written_packets() {
  local file found
  mapfile -t found < <(files)
  ((${#found[@]} > 0)) || { echo 0 && return; }
  [[ ${found[0]} == *.pcap* ]] && ((${#found[@]} < KEEP)) || return 0
  for file in "${found[@]}"; do tcpdump --count -r "$file" 2>/dev/null || :; done | awk '/^[0-9]+ packets?$/ { sum += $1 } END { print sum + 0 }'
}

# tcpdump's last words.
say_counts() {
  local counts dropped captured written
  counts=$(awk '
    / packets? captured$/ { captured += $1 } / received by filter$/ { received += $1 } / dropped by kernel$/ { dropped += $1 }
    END { printf "%d captured, %d received by filter, %d dropped by kernel", captured, received, dropped }' "$RUNNING/log")
  if ! grep -q ' packets\? captured$' "$RUNNING/log"; then
    say "${YELLOW}tcpdump ended without its counts: $(tail -n 1 "$RUNNING/log")$PLAIN"
    return 1
  fi
  say "packets: $counts"
  captured=${counts%% *} written=$(written_packets)
  if [[ -n $written ]] && ((written < captured)); then
    say "${YELLOW}tcpdump could not write $((captured - written)) of $captured packets: $(df -h --output=avail "$CAPTURES" | tail -n 1 | tr -d ' ') of disk space is free in $CAPTURES$PLAIN"
    return 1
  fi
  dropped=${counts##*filter, }
  [[ ${dropped%% *} == 0 ]] || { say "${YELLOW}some were dropped: the disk or this machine is too slow; SNAPLEN=96 takes less${PLAIN}" && return 1; }
}

files() {
  local base
  { read -r base <"$RUNNING/file"; } 2>/dev/null || return 0
  compgen -G "$base*" | sort -V || :
}

status() {
  prepare
  local number
  number=$(pid)
  if [[ -z $number ]] || ! listens; then
    say "no capture runs"
    return 1
  fi
  printf 'tcpdump (%s) since %s\n' "$number" "$(ps -o lstart= -p "$number")"
  files | xargs -r du -h
}

print_filter() {
  prepare
  filter
}

run_for() { # SECONDS, none: until Ctrl+C
  local end=$((SECONDS + ${1:-0}))
  up
  [[ -z ${DRY_RUN:-} ]] || return 0
  [[ ${CNET_LOCKED:-} != "$$" ]] || { exec 9>&- && unset CNET_LOCKED; } # others may change the lab meanwhile
  trap 'INTERRUPTED=1' INT TERM
  INTERRUPTED=
  say "capturing${1:+ for $1 s}; Ctrl+C ends it"
  until [[ -n $INTERRUPTED ]] || { [[ -n ${1:-} ]] && ((SECONDS >= end)); }; do
    sleep 0.2 & # in the background: a signal ends `wait` at once, a sleep in front not
    wait $! || :
  done
  trap - INT TERM
  down
}

mark_watcher
COMMAND=${1:-help}
shift || :
WANTED=
for argument; do
  case $argument in
    --text) TEXT=1 ;;
    *)
      is_duration "$argument" || bad_usage "\"$argument\" is neither --text nor a number of seconds from 1 to 99999"
      [[ $COMMAND == run ]] || bad_usage "only run takes seconds"
      WANTED=$argument
      ;;
  esac
done
case $COMMAND in
  up | down | status | files) "$COMMAND" ;;
  filter) print_filter ;;
  run) run_for ${WANTED:+"$WANTED"} ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$COMMAND\"" ;;
esac
