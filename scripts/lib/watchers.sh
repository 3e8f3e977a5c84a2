# shellcheck shell=bash
# Programs that watch the lab (captures, dashboard, exporter, health) carry a mark in their environment. The kernel
# keeps it for the life of a process and gives it to its children, so `down` finds them whatever happened to their
# parents. Sourced.

# The value names the host by its network namespace: the machine sees the programs of labs in sandboxes too.
WATCHES=CNET_WATCHES=$(readlink /proc/self/ns/net)

# A number of seconds from 1 to 99999; no leading zero, which bash would read as octal.
is_duration() { [[ $1 =~ ^[1-9][0-9]{0,4}$ ]]; }

mark_watcher() { export "${WATCHES?}"; }

watchers() { grep -lzxsF -- "$WATCHES" /proc/[0-9]*/environ | cut -d/ -f3 || :; } # processes end while they are read
no_watchers() { [[ -z $(watchers) ]]; }

end_watchers() {
  local signal pids
  for signal in TERM KILL; do
    mapfile -t pids < <(watchers)
    ((${#pids[@]} > 0)) || return 0
    run kill "-$signal" "${pids[@]}" 2>/dev/null || : # some may have ended meanwhile
    [[ -z ${DRY_RUN:-} ]] || return 0
    ! retry_until 5 no_watchers || return 0
  done
  die "processes that watch the lab do not end: $(watchers | tr '\n' ' ')"
}
