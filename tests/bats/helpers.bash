# shellcheck shell=bash disable=SC2154 # status and output are set by bats
# Shared by all tests of the scripts.

bats_require_minimum_version 1.5.0

ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
LAB=$ROOT/scripts/lab.sh
export ROOT LAB
export NO_COLOR=1

# sandboxed SCRIPT: runs bash text in a fresh host, stopping at the first failure. Sets status and output.
sandboxed() { # COMMANDS
  run "$ROOT/scripts/sandbox.sh" run bash -euo pipefail -c "source '$ROOT/tests/bats/inside.bash'; cd '$ROOT'; $1"
}

# share_lab, in setup_file: the tests of a file that use in_lab share one sandbox, which ends with this process.
share_lab() { # [COMMANDS]: those that bring the lab up, if not all of it
  [[ -z ${1:-} ]] || export CONVERGE=$1
  export SHARED=$BATS_FILE_TMPDIR
  mkfifo "$SHARED/alive"
  exec 8<>"$SHARED/alive" # the tests inherit it; the sandbox reads it to its end
}

# in_lab SCRIPT: as sandboxed, in the file's lab, which is up as the tables want it: `up` repairs what the test before
# broke. A test that fails ends the sandbox, and the next one starts another.
in_lab() { # COMMANDS
  [[ -s $SHARED/pid ]] || start_lab
  run nsenter --target "$(<"$SHARED/pid")" --net --mount --ipc --uts --pid setsid --wait \
    bash -euo pipefail -c "cd '$ROOT'; source tests/bats/inside.bash; trap clean_up EXIT; bring_up; $1" 8>&-
  ((status == 0)) || end_lab
}

in_own_lab() { sandboxed "bring_up; $1"; } # COMMANDS: for a test that needs a lab that nobody used

start_lab() {
  rm -f "$SHARED/started"
  "$ROOT/scripts/sandbox.sh" run bash -c "touch '$SHARED/started'; cat" <"$SHARED/alive" &>"$SHARED/log" 3>&- 8>&- &
  until [[ -e $SHARED/started ]]; do
    kill -0 $! || { cat "$SHARED/log" && return 1; }
    sleep 0.05
  done
  pgrep --parent $! >"$SHARED/pid"
}

end_lab() {
  kill -KILL "$(<"$SHARED/pid")"
  rm "$SHARED/pid"
}

# Print a table with an IPv6 address in each line, of a /64 for each bridge, which ends in the number that the IPv4
# address ends in: fd00:cafe::10 in flat, fd00:cafe:20::10 in tiers.
dual_table() { # [flat|tiers]
  awk -F'\t+' -v OFS='\t' '/^#/ { next } { six = "address6" }
    $1 != "kind" { split($4, part, "[./]"); six = "fd00:cafe:" (part[2] > 0 ? part[2] ":" : "") ":" part[4] "/64" }
    { print $0, six }' "$ROOT/topology/${1:-flat}.tsv"
}

# Print a dual table without its IPv4 addresses.
ipv6_table() { # [flat|tiers]
  dual_table "$@" | awk -F'\t+' -v OFS='\t' '$1 != "kind" { $4 = "-" } { $1 = $1 } 1'
}

forwards_by_interface() {
  [[ -e /proc/sys/net/ipv6/conf/all/force_forwarding ]] || skip_by_kernel "before 6.17, it cannot forward by interface"
}

# The only reasons to skip a test; tests/run.sh fails for every other one. A missing tool is one only where the
# distribution has no package of it (Ubuntu has Chromium as a snap), so never on Debian.
skip_by_kernel() { skip "kernel: $1"; }
skip_by_docker() { skip "Docker: $1"; }
need_packaged() { command -v "$@" >/dev/null || skip "no package: $1"; } # TOOL OTHER_NAME...

# The last test's output must have this text.
says() {
  [[ $output == *"$1"* ]] || {
    printf 'wanted: %s\ngot:\n%s\n' "$1" "$output" >&2
    return 1
  }
}

succeeds() {
  ((status == 0)) || {
    printf 'exit status %s:\n%s\n' "$status" "$output" >&2
    return 1
  }
}

# Print the lines whose turn it is today, so that each had its turn after PARTS days; all of them for FULL=1. DAY=20785
# (days since the epoch) repeats a day's.
part_of_today() { # PARTS
  local parts=${FULL:+1} day=${DAY:-$((EPOCHSECONDS / 86400))}
  awk -v parts="${parts:-$1}" -v day="$day" '
    NR % parts == day % parts { print; ++printed }
    END { printf "# %d of %d (DAY=%d)\n", printed, NR, day >"/dev/fd/3" }'
}
