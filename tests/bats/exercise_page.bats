#!/usr/bin/env bats
# shellcheck disable=SC2016 # text between single quotes runs later
# An exercise in the dashboard's page, in a real browser beside the exercise's own shell.

load helpers

EXERCISE=$ROOT/faults/exercise.sh
export DASHBOARD_PORT=28050

setup() {
  export XDG_STATE_HOME=$BATS_TEST_TMPDIR/state SEED=7 TERM=dumb
  cd "$ROOT" || return
}

teardown() { [[ -z ${OTHER:-} ]] || kill "$OTHER"; }

test_page() { # beside the exercise
  EXERCISE_URL=$(grep -ao 'http://127.0.0.1:28050/#token=[A-Za-z0-9_-]*' "$PRINTED") \
    .venv/bin/python -m pytest tests/lab/test_exercise_page.py -p no:cacheprovider &>"$PRINTED.tests"
}
export -f test_page

@test "an exercise in the page: symptom, hint, reset, a repair typed there, the explanation; it ends with the shell" {
  need_packaged chromium chromium-browser google-chrome
  export EXERCISE_PORT PRINTED=$BATS_TEST_TMPDIR/printed
  EXERCISE_PORT=$(TOPOLOGY=flat .venv/bin/python -m faults.exercises.targets mtu-of-port 7 | sed -n 's/^PORT=//p')
  PAGE=1 python3 -u tests/lab/type_exercise.py "$EXERCISE" start mtu-of-port >"$PRINTED" 2>&1 <<'STEPS' || :
    < The page, .*: http://127.0.0.1:28050/#token=[A-Za-z0-9_-]{43}\s
    < # $
    ! test_page
    > exit
    < solved in .*: 30 of 60 points
STEPS
  run cat "$PRINTED" "$PRINTED.tests"
  says "11 passed"
  says "solved in"
  run -7 curl -s http://localhost:28050/
}

@test "PAGE=1 is refused for the lab that is up and for a port that is taken" {
  run -1 env PAGE=1 HERE=1 "$EXERCISE" start mtu-of-port
  says "PAGE=1 is for an exercise in a sandbox; with HERE=1 use: sudo make dashboard TERMINAL=1"
  python3 -m http.server 28050 --bind 127.0.0.1 &>/dev/null 3>&- &
  OTHER=$!
  curl -so /dev/null --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:28050/
  run -1 env PAGE=1 "$EXERCISE" start mtu-of-port
  says "port 28050 is taken by \"python3\",pid=$OTHER; end it, or use another port: DASHBOARD_PORT=8051"
  [[ ${#lines[@]} == 1 ]]
}
