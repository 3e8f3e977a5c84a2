#!/usr/bin/env bash
# Phase 3.1: tcpdump on the lab's links. Each packet is captured once: where a node sent it, or where the host sent it
# into the lab.
#
#   namespace ==veth==> | br-app | <==veth== namespace   +--> reports/captures/traffic_log_DATE_TIME.pcap0, 1, ...
#               in      |   ^    |      in               |
#                           | out: from the host and the world
#                        tcpdump -i any ---------------+
#
#   monitoring/capture.sh up [--text]              begin, in the background
#   monitoring/capture.sh down                     end; print what was captured, received, dropped; 1 if any was dropped
#   monitoring/capture.sh status                   what runs, and the size of its files; 1 if nothing runs
#   monitoring/capture.sh run [SECONDS] [--text]   begin, wait SECONDS or for Ctrl+C, end
#   monitoring/capture.sh files                    the last capture's files
#   monitoring/capture.sh filter                   which packets: a filter for tcpdump -i any
#   monitoring/capture.sh help
#
# A capture holds what was sent, passwords too: only root can read its files and their folder.
# The files are pcap with SNAPLEN=256 bytes of each frame (0: all), at most KEEP=10 files of ROTATE=50 MB; the oldest is
# overwritten. --text writes what tcpdump prints; it is slow and its file has no limit, so give it seconds.

# shellcheck source=scripts/lib/topology.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib/topology.sh"
# shellcheck source=scripts/lib/processes.sh
source "$ROOT/scripts/lib/processes.sh"
# shellcheck source=monitoring/counts.sh
source "$ROOT/monitoring/counts.sh"

OTHER_FOLDER=${CAPTURES:-}
CAPTURES=${CAPTURES:-${REPORTS:-$ROOT/reports}/captures}
SNAPLEN=${SNAPLEN:-256} ROTATE=${ROTATE:-50} KEEP=${KEEP:-10}
BUFFER=65536 # KiB of the kernel's ring, for bursts
RUNNING=$RUN_DIR/capture
TEXT=

# Not `-i br-app`: that makes the bridge promiscuous, so that it hands the host a copy of each frame, and the copies
# pass the host's rules a second time. A node's frames come in at its port of the bridge; what the host sends, or
# routes from outside the lab, goes out at the bridge (what it routes from another bridge came in at a port already).
filter() {
  local ports bridge bridges=() networks=() hosts=()
  mapfile -t ports < <(ip -j link show group "$LINK_GROUP" | jq -r '.[] | select(.master) | "ifindex \(.ifindex)"')
  ((${#ports[@]} > 0)) || die "no node is on a bridge; sudo make network"
  for bridge in "${BRIDGES[@]}"; do
    bridges+=("ifindex $(ip -j link show dev "$bridge" | jq '.[0].ifindex')")
    networks+=("src net $(network_cidr "${ADDRESS[$bridge]}")")
    hosts+=("src host ${ADDRESS[$bridge]%/*}")
    [[ -n ${NETWORK6[$bridge]:-} ]] || continue
    networks+=("src net ${NETWORK6[$bridge]}")
    hosts+=("src host ${ADDRESS6[$bridge]%/*}")
  done
  printf '(inbound and (%s)) or (outbound and (%s) and (not (%s) or %s))\n' \
    "$(any_of "${ports[@]}")" "$(any_of "${bridges[@]}")" "$(any_of "${networks[@]}")" "$(any_of "${hosts[@]}")"
}

any_of() { # TERM...: "TERM or TERM"
  printf '%s' "$1"
  (($# == 1)) || printf ' or %s' "${@:2}"
}

pid() { # print the pid of tcpdump, which locks this file while it runs
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
  [[ $COMMAND != run ]] || bound=(setpriv --pdeathsig TERM) # end tcpdump even if this script is killed
  exec 8>"$RUNNING/pid"
  flock 8
  setsid "${bound[@]}" tcpdump "${arguments[@]}" >"$output" 2>"$RUNNING/log" 9>&- &
  echo "$!" >&8
  exec 8>&-
  echo "$base" >"$RUNNING/file"
  retry_until 5 listens || die "tcpdump: $(tail -1 "$RUNNING/log")"
}

listens() { grep -qs 'listening on' "$RUNNING/log"; } # tcpdump creates its log a moment after its start

# Close the default folder to other users, even if it exists; leave the mode of any other existing folder.
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
  [[ -z $(pid) ]] || { say "a capture runs already; see: monitoring/capture.sh status" && return 0; }
  [[ -n ${DRY_RUN:-} ]] || make_folders
  start
}

down() {
  need_root
  need_tools tcpdump
  local number failed=0
  number=$(pid)
  [[ -z $number ]] || end_tcpdump "$number"
  [[ -z ${DRY_RUN:-} ]] || return 0
  [[ -e $RUNNING/log ]] || { say "no capture runs" && return 0; }
  check_counts || failed=1
  files | sed 's/^/  /' >&2
  rm -f "$RUNNING/log" # so that a second `down` does not print these counts again
  return "$failed"
}

end_tcpdump() { # PID
  # The kernel hands packets over in blocks, at most a second late (tcpdump's to_ms): wait for those that were sent.
  [[ -n ${DRY_RUN:-} ]] || read -rt 1.2 <> <(:) || :
  run kill -INT "$1"
  [[ -n ${DRY_RUN:-} ]] || retry_until 10 process_ended "$1" || die "tcpdump ($1) does not end; kill -9 $1"
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

run_for() { # SECONDS, none: until Ctrl+C
  local end=$((SECONDS + ${1:-0}))
  up
  [[ -z ${DRY_RUN:-} ]] || return 0
  [[ ${CNET_LOCKED:-} != "$$" ]] || { exec 9>&- && unset CNET_LOCKED; } # another run may change the lab meanwhile
  trap 'INTERRUPTED=1' INT TERM
  INTERRUPTED=
  say "capturing${1:+ for $1 s}; Ctrl+C ends it"
  until [[ -n $INTERRUPTED ]] || { [[ -n ${1:-} ]] && ((SECONDS >= end)); }; do
    sleep 0.2 & # in the background, because a signal ends `wait` at once but not a foreground sleep
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
  filter) prepare && filter ;;
  run) run_for ${WANTED:+"$WANTED"} ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$COMMAND\"" ;;
esac
