# shellcheck shell=bash
# Compare tcpdump's counts with the packets in the files of monitoring/capture.sh. Sourced.

# The packets in the files of the capture: tcpdump reports no error of write(2) itself. Prints nothing for text, and
# when old files may have been overwritten (rotation).
written_packets() {
  local file found
  mapfile -t found < <(files)
  ((${#found[@]} > 0)) || { echo 0 && return; }
  [[ ${found[0]} == *.pcap* ]] && ((${#found[@]} < KEEP)) || return 0
  for file in "${found[@]}"; do tcpdump --count -r "$file" 2>/dev/null || :; done |
    awk '/^[0-9]+ packets?$/ { sum += $1 } END { print sum + 0 }'
}

statistic() { # NAME: its number in tcpdump's final statistics
  sed -nE "s/^([0-9]+) packets? $1$/\1/p" "$RUNNING/log"
}

# Prints tcpdump's final statistics; 1 if they are missing or packets were lost.
check_counts() {
  local captured dropped written
  captured=$(statistic captured) dropped=$(statistic 'dropped by kernel') written=$(written_packets)
  [[ -n $captured ]] || warn "tcpdump ended without its counts: $(tail -n 1 "$RUNNING/log")" || return
  say "packets: $captured captured, $(statistic 'received by filter') received by filter, $dropped dropped by kernel"
  ((${written:-$captured} >= captured)) ||
    warn "tcpdump could not write $((captured - written)) of $captured packets: $(free_space) is free in $CAPTURES" ||
    return
  [[ $dropped == 0 ]] || warn "some were dropped: the disk or this machine is too slow; SNAPLEN=96 takes less"
}

warn() { say "$YELLOW$*$PLAIN" && return 1; }
free_space() { echo "$(df -h --output=avail "$CAPTURES" | tail -n 1 | tr -d ' ') of disk space"; }
