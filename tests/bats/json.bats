#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2154 # the text between single quotes runs inside the sandbox; bats sets stderr
# JSON=1: each verb of docs/reference/json.md prints one document of its schema, with the exit status of its text.

load helpers

setup_file() { share_lab; }

# The verbs that inspect or change a lab, and their arguments.
LAB_VERBS='
status
doctor
diagnose
explain FROM=nginx-lb TO=api-gateway PORT=3000
rules
topology
health ONCE=1
connections
verify
prove
exercises
scale PROGRAM=product-service COUNT=4'

# The benchmarks with their settings for a short run: make bench takes 30 s, the others less.
BENCHMARKS='
bench REQUESTS=50 SECONDS_OPEN=1
bench-hops ROUNDS=2 REQUESTS=40
bench-network ROUNDS=2 SIZES=10
bench-services ROUNDS=2 REQUESTS=200
bench-policy ROUNDS=2 REQUESTS=500
bench-analysis ROUNDS=2 PACKETS=20000'

# The scripts of verbs, to call them by hand.
BY_HAND='
status scripts/lab.sh status
doctor scripts/doctor.sh
diagnose scripts/diagnose.sh
explain security/explain.sh redis-cache postgres-db 5432
rules scripts/report.sh rules
topology scripts/report.sh topology
health scripts/report.sh health --once
connections scripts/report.sh connections
verify scripts/verify.sh network
prove security/prove.sh
exercises faults/exercise.sh list
scale scripts/scale.sh product-service 3'

FUNCTIONS='
  export REPORTS=/run/reports
  valid() { .venv/bin/python tests/lab/validate_json.py "$@"; } # VERB [lines] <OUTPUT
  # The exit status of a command; its output is in /run/json, its messages are in /run/messages.
  ends_with() { # STATUS COMMAND...
    local status=0
    "${@:2}" >/run/json 2>/run/messages || status=$?
    [[ $status == "$1" ]] || { echo "wanted $1, got $status: ${*:2}"; tail -n 5 /run/messages; return 1; }
  }
  settle() { retry 30 scripts/lab.sh status &>/dev/null; } # a service that has just started may not be ready
  status_of() { # COMMAND...
    local status=0
    "$@" &>/run/text || status=$?
    echo "$status"
  }
'

@test "each schema belongs to a verb that is run here" {
  run diff <(printf '%s\n' "$LAB_VERBS" "$BENCHMARKS" docker-diff | awk 'NF { print $1 }' | sort) \
    <(basename --suffix .json "$ROOT"/docs/reference/json/*.json | sort)
  succeeds # docker-diff is in docker.bats
}

@test "make VERB JSON=1 prints one valid document, and exits as without JSON" {
  in_lab "$FUNCTIONS"'
    settle
    while read -r verb arguments; do
      [[ -n $verb ]] || continue
      wanted=$(status_of make -s "$verb" $arguments)
      ends_with "$wanted" make -s "$verb" $arguments JSON=1 </dev/null
      valid "$verb" </run/json
    done <<<"'"$LAB_VERBS"'"
    jq -e ".before == 4 and .after == 4" /run/json
  '
  succeeds
}

@test "a script with --json prints one valid document, and exits as without it" {
  in_lab "$FUNCTIONS"'
    settle
    while read -r verb command; do
      [[ -n $verb ]] || continue
      wanted=$(status_of $command)
      ends_with "$wanted" $command --json </dev/null
      valid "$verb" </run/json
      case $verb in
        explain) ((wanted == 1)) && jq -e ".outcome.policy_id == \"database-closed\"" /run/json ;;
        verify) jq -e ".failed == 0 and .passed == (.checks | length)" /run/json ;;
        status) jq -e ".matches and (.programs | map(.since) | all)" /run/json ;;
      esac
    done <<<"'"$BY_HAND"'"
  '
  succeeds
}

@test "health prints a document a line for each round, whoever reads" {
  in_lab "$FUNCTIONS"'
    ends_with 0 scripts/report.sh health --json --every 0.1 --rounds 2
    [[ $(wc -l </run/json) == 2 ]]
    valid health lines </run/json
  '
  succeeds
}

@test "what is wrong is in the document, and the exit status is 1" {
  in_lab "$FUNCTIONS"'
    iptables -t nat -F CNET-PUBLISH
    .venv/bin/supervisorctl -c /run/cnet/supervisord.conf stop redis-cache >/dev/null
    ends_with 1 env JSON=1 scripts/lab.sh status
    valid status </run/json
    jq -e "(.matches | not) and .drift[0].kind == \"missing\"" /run/json
    jq -e ".programs[] | select(.node == \"redis-cache\") | .state == \"stopped\" and .pid == null" /run/json
    ends_with 1 scripts/verify.sh all --json
    valid verify </run/json
    jq -e ".failed > 0 and ([.checks[] | select(.passed | not)] | length) == .failed" /run/json
    jq -e "[.checks[].explain[]] | index(\"sudo make explain FROM=world TO=host PORT=8080\")" /run/json
    ends_with 1 scripts/diagnose.sh run --json
    valid diagnose </run/json
    jq -e "[.findings[].kind] | index(\"program-stopped\") and index(\"rule-missing\")" /run/json
    ends_with 1 scripts/report.sh health --once --json
    valid health </run/json
    jq -e "(.healthy | not) and (.services[] | select(.service == \"redis-cache\") | .state == \"down\")" /run/json
  '
  succeeds
}

@test "a status that cannot be read whole is not said to match" {
  in_lab "$FUNCTIONS"'
    echo "= no TOML" >/run/service.toml
    mount --bind /run/service.toml services/redis/service.toml
    ends_with 1 scripts/lab.sh status --json
    umount services/redis/service.toml
    valid status </run/json
    jq -e "(.matches | not) and .programs == []" /run/json
  '
  succeeds
}

@test "an error before the work has its status, a message, and nothing on standard output" {
  sandboxed "$FUNCTIONS"'
    while read -r verb command; do
      [[ -n $verb ]] || continue
      ends_with 2 env JSON=maybe $command
      grep -q "JSON=maybe: must be 1 (on) or 0 (off)" /run/messages
      [[ ! -s /run/json ]]
      [[ $verb != @(doctor|exercises) ]] || continue # they need no lab
      ends_with 1 $command --json
      [[ ! -s /run/json && $(wc -l </run/messages) == 1 ]] || { echo "$verb"; cat /run/json /run/messages; exit 1; }
      grep "the lab is not up: sudo make up" /run/messages
    done <<<"'"$BY_HAND"'"
    ends_with 2 scripts/scale.sh product-service none --json
    [[ ! -s /run/json ]]
  '
  succeeds
}

@test "a lab that comes up with JSON=1 in the environment prints its text" {
  in_lab 'JSON=1 scripts/lab.sh up >/run/up; grep "81 of 81 pings answered" /run/up'
  succeeds
}

@test "a benchmark prints one valid document" {
  local verb settings reports=$BATS_TEST_TMPDIR
  while read -r verb settings; do
    # shellcheck disable=SC2086 # words
    run --separate-stderr env REPORTS="$reports" QUICK=1 $settings JSON=1 make -s -C "$ROOT" "$verb"
    ((status == 0)) || { printf '%s\n' "$verb" "$stderr" | tail -n 5 && return 1; }
    run "$ROOT/.venv/bin/python" "$ROOT/tests/lab/validate_json.py" "$verb" <<<"$output"
    succeeds
  done < <(grep . <<<"$BENCHMARKS" | part_of_today 3)
}
