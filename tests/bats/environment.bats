#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# What the caller has set for itself: switches are read, everything else stays outside.

load helpers

@test "a switch takes 1, yes, true, 0, no, false or nothing; anything else is refused by every script before it does anything" {
  local script
  for script in $(cd "$ROOT" && git ls-files '*.sh' | xargs grep -lE '^ *(source|\.) .*/(lib|topology|engine|swarm_nodes)\.sh"?$' | xargs grep -l '^case '); do
    run -2 env QUICK=maybe "$ROOT/$script" help
    says "${script##*/}: QUICK=maybe: must be 1 (on) or 0 (off)"
    run -0 env QUICK=no DRY_RUN=0 BACK=false ONCE= "$ROOT/$script" help
  done
  says "help"
}

@test "a switch that is off does what nothing does: DRY_RUN=0 acts, DRY_RUN=yes shows" {
  sandboxed '
    DRY_RUN=yes scripts/network.sh up; refute ip link show br-app
    DRY_RUN=0 scripts/network.sh up >/dev/null; ip link show br-app >/dev/null
    DRY_RUN=true scripts/network.sh down; ip link show br-app >/dev/null
    DRY_RUN=false BACK=0 make -s health ONCE=1 && exit 1 # nothing answers: it ends, and says so by its status
    DRY_RUN=no scripts/network.sh down >/dev/null; refute ip link show br-app
  '
  succeeds
}

@test "the caller's shell, proxies, curl, umask, Python and database settings change nothing" {
  sandboxed '
    mkdir -p /run/home/scripts /run/home/python
    echo "proxy = http://127.0.0.1:9" >/run/home/.curlrc
    echo "raise SystemExit(\"a module of the caller was loaded\")" >/run/home/python/json.py
    echo "set -o noclobber; declare -x SCRIPT=mine ROOT=/nowhere" >/run/home/bash_env
    export HOME=/run/home CDPATH=/run/home BASH_ENV=/run/home/bash_env POSIXLY_CORRECT=1
    export http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 all_proxy=http://127.0.0.1:9 HTTP_PROXY=http://127.0.0.1:9
    export PYTHONPATH=/run/home/python PGHOST=/nowhere PGUSER=nobody GIT_DIR=/nowhere LC_ALL=tr_TR.UTF-8
    umask 077
    scripts/lab.sh up >/run/up 2>&1 || { tail -20 /run/up; exit 1; }
    scripts/verify.sh all >/run/verify 2>&1 || { cat /run/verify; exit 1; }
    scripts/lab.sh status >/run/status || { cat /run/status; exit 1; }
    umask 022
    # Services read their resolver as the user that they run as.
    for name in /etc/netns/*; do [[ $(stat -c %a "$name" "$name/resolv.conf" | xargs) == "755 644" ]]; done
    scripts/contain.sh exec order-service cat /etc/resolv.conf | grep nameserver
    scripts/lab.sh down >/run/down 2>&1 || { tail -20 /run/down; exit 1; }
  '
  succeeds
}

@test "Python keeps its bytecode although the caller forbids it, because each start would compile the modules again" {
  export PYTHONDONTWRITEBYTECODE=1
  run bash -c 'source scripts/lib/topology.sh; run_python -c "import sys; sys.exit(sys.dont_write_bytecode)"'
  succeeds
}

@test "a checkout in a path with a blank works; one whose path other programs read otherwise is refused before anything changes" {
  local place
  for place in "it's" 'two  blanks' 'back\slash' 'hash#' 'per%cent' 'semi;colon' 'dollar$'; do
    ln -s "$ROOT" "$BATS_TEST_TMPDIR/$place"
    for script in install sandbox lab doctor; do
      run "$BATS_TEST_TMPDIR/$place/scripts/$script.sh" up
      [[ $status == 1 ]]
      says "the path of this checkout, $BATS_TEST_TMPDIR/$place, has a quote"
    done
  done
  mkdir "$BATS_TEST_TMPDIR/a b"
  (cd "$ROOT" && git ls-files -z | xargs -0 cp --parents -t "$BATS_TEST_TMPDIR/a b")
  ln -s "$ROOT/.venv" "$BATS_TEST_TMPDIR/a b/.venv"
  sandboxed "cd '$BATS_TEST_TMPDIR/a b'"'
    scripts/lab.sh up &>/run/up || { cat /run/up; exit 1; }
    scripts/lab.sh status
    security/explain.sh order-service postgres-db 5432
    scripts/scale.sh product-service 4
    scripts/lab.sh down
  '
  succeeds
}

@test "a deadline does not move when the clock is set" {
  run timeout 20 bash -c 'source "$0"; unset EPOCHREALTIME; EPOCHREALTIME=1.000000; retry_until 1 false' "$ROOT/scripts/lib/common.sh"
  [[ $status == 1 ]]
}

@test "a measurement during which the clock was set is refused" {
  run bash -c 'source "$0"; offset=$(clock_offset); need_same_clock "$offset" && need_same_clock $((offset - 3600))' "$ROOT/scripts/lib/common.sh"
  [[ $status == 1 ]]
  says "the clock was set by 3600 s during the measurement, so its times are wrong; run it again"
}
