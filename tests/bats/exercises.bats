#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# Exercises: typed through a pseudo terminal, as a learner does.

load helpers

EXERCISE=$ROOT/faults/exercise.sh

setup() {
  export XDG_STATE_HOME=$BATS_TEST_TMPDIR/state SEED=7 TERM=dumb
  ATTEMPTS=$XDG_STATE_HOME/container-networking-lab/exercises.json
  PORT=$(target PORT)
}

target() { # VARIABLE: of the exercise with this seed
  (cd "$ROOT" && TOPOLOGY=flat .venv/bin/python -m faults.exercises.targets mtu-of-port 7) | sed -n "s/^$1=//p"
}

typed() { # STEPS [COMMAND...]
  local steps=$1
  shift
  (($# > 0)) || set -- "$EXERCISE" start mtu-of-port
  run python3 "$ROOT/tests/lab/type_exercise.py" "$@" <<<"$steps"
}

attempts() { # FIELD...: of each stored attempt
  local fields="$*"
  jq -c ".attempts[] | [${fields// /,}]" "$ATTEMPTS"
}

# What this test's exercise may leave on the machine: its processes inherit the test's own folder for scores.
left() {
  env -u XDG_STATE_HOME grep -lzsxF "XDG_STATE_HOME=$XDG_STATE_HOME" /proc/[0-9]*/environ || :
  grep -F "$ROOT" /proc/self/mounts || :
  find /dev/shm /run -maxdepth 1 -name '*exercise*' 2>/dev/null || :
}

@test "an exercise from the symptom to the score: hint, wrong repair, reset, repair" {
  typed "
    < A second terminal: .*scripts/sandbox.sh enter [0-9]+
    < exercise large-answers-never-arrive\] .* # \$
    > explain; echo \"status \$?\"
    < not before you have solved it(.|\n)*status 1
    > check; echo \"status \$?\"
    < still broken(.|\n)*full-size packets(.|\n)*Not repaired: [0-9]+ still broken\.(.|\n)*status 1
    > hint
    < Hint 1 of 3: (.|\n)*45 of 60 points are left
    > iptables -I FORWARD -j DROP; check
    < broken since(.|\n)*pings from(.|\n)*Not repaired: ([0-9]+ still broken, )?[0-9]+ broken since
    > reset; iptables -S FORWARD; ip -br link show mtu 2>/dev/null; ip link show $PORT
    < After [0-9.]+ s: the lab is as it was when the exercise began(.|\n)*mtu 1300
    > iptables -C FORWARD -j DROP; echo \"status \$?\"
    < status 1
    > ip link set $PORT mtu 1500; check; echo \"status \$?\"
    < repaired(.|\n)*Repaired in .*: 45 of 60 points\.(.|\n)*status 0
    > explain
    < is_skb_forwardable(.|\n)*docs/lessons/network.md
    > exit
    < solved in .*: 45 of 60 points"
  succeeds
  says "status 0"
  stored='["large-answers-never-arrive","solved",45,60,1,3,1,7]'
  [[ $(attempts .exercise .outcome .score .points .hints .checks .resets .seed) == "$stored" ]]
  [[ -z $(left) ]]
}

@test "the learner's shell tells nothing of the cause: processes, files, environment, history, nor while it is reset" {
  local secrets="mtu 1300|mtu-of-port|right_|set_the_mtu"
  typed "
    < A second terminal
    < # \$
    > look() { cat /proc/[0-9]*/{cmdline,environ} faults/catalogue/*/*; }
    > (while :; do look; done 2>/dev/null | tr '\\0' '\\n' >/run/seen) &
    > reset; sleep 0.3; kill %1; sleep 0.2
    < After
    > echo \$((\$(wc -l </run/seen) > 1000)) seen:\$(grep -cE '$secrets|$PORT' /run/seen):
    < 1 seen:0:
    > echo tree:\$(grep -rlE '$secrets' . \
        --exclude-dir={.venv,.mypy_cache,.ruff_cache,.pytest_cache,.hypothesis,docs,exercises} | grep -vx './Makefile'):
    < tree::\n
    > echo files:\$(ls /proc/*/cwd/faults/catalogue/mtu-of-port \
        /proc/*/root$ROOT/faults/catalogue/* 2>/dev/null | grep -c toml):
    < files:0:
    > echo environment:\$(env | grep -ciE '$secrets|$PORT|NODE='):; ls \$HISTFILE; history | sed -n 1p
    < environment:0:(.|\n)*cannot access(.|\n)* 1 +look
    > scripts/diagnose.sh run; echo \"status \$?\"
    < names the cause(.|\n)*status 1
    > give-up
    < The cause: mtu $PORT host(.|\n)*ip link set \"?$PORT\"? mtu 1500
    > scripts/diagnose.sh run
    < $PORT
    > exit"
  succeeds
  [[ $(attempts .outcome .score) == '["gave up",0]' ]]
}

@test "a second terminal has the same commands and sees no more; what the learner changes of the files is gone" {
  cp "$ROOT/topology/flat.tsv" "$BATS_TEST_TMPDIR/before"
  typed "
    < A second terminal
    < # \$
    > echo '# mine' >>topology/flat.tsv; tail -1 topology/flat.tsv
    < # mine
    ! printf '%s\n' symptom 'ls faults/catalogue | wc -l' hint exit | \
        script -qec \"'$ROOT/scripts/sandbox.sh' enter \$SANDBOX\" /dev/null | \
        tr -d '\r' >'$BATS_TEST_TMPDIR/second'
    > hint
    < Hint 2 of 3
    > exit"
  succeeds
  grep "Large answers never arrive: level 3" "$BATS_TEST_TMPDIR/second"
  grep "Hint 1 of 3" "$BATS_TEST_TMPDIR/second"
  grep -x 0 "$BATS_TEST_TMPDIR/second"
  diff "$BATS_TEST_TMPDIR/before" "$ROOT/topology/flat.tsv"
}

@test "killed with -9 at any moment nothing is left: the driver while the lab comes up and later, the shell" {
  local driver='kill -9 $PROGRAM'
  typed "
    < network.sh
    ! $driver"
  says "status -9"
  retry_left
  typed "
    < A second terminal
    < # \$
    ! $driver"
  says "status -9"
  retry_left
  typed "
    < A second terminal
    < # \$
    > kill -9 \$\$
    < deleting the sandbox"
  succeeds
  says "status 0"
  retry_left
}

retry_left() {
  for _ in {1..50}; do
    [[ -n $(left) ]] || return 0
    sleep 0.2
  done
  left
  return 1
}

@test "HERE=1 breaks the lab that is up, and leaving repairs it, also when it is killed" {
  sandboxed '
    export HERE=1 SEED=7 XDG_STATE_HOME=/run/state START="faults/exercise.sh start mtu-of-port"
    typed() { python3 tests/lab/type_exercise.py $START; }
    port=$(TOPOLOGY=flat .venv/bin/python -m faults.exercises.targets mtu-of-port 7 | sed -n "s/^PORT=//p")
    fails_with 1 "the lab is not up: sudo make up" $START
    bring_up; faults/exercises/state.sh save /run/saved
    is_repaired() {
      ! pgrep -f "[f]aults.exercises.(session|keeper)|[-]-rcfile /run/exercise" && [[ ! -e /run/exercise ]] &&
        faults/exercises/state.sh diff /run/saved
    }
    scripts/nat.sh down >/dev/null
    refute $START &>/run/said; grep "does not work .*sudo make up" /run/said; bring_up; [[ ! -e /run/exercise ]]
    typed <<<"
      < Nothing is hidden here
      < # \$
      ! ip link show $port | grep \"mtu 1300\" >/run/broken
      ! $START 2>&1 | grep \"another exercise is under way\" >/run/second
      > reset
      < After .* the lab is broken again
      > exit
      < the lab is repaired: everything works"
    [[ -s /run/broken && -s /run/second ]]; is_repaired
    typed <<<"
      < Nothing is hidden here
      < # \$
      ! pkill -STOP -f [e]xercises.keeper; kill -9 \$PROGRAM"
    refute $START &>/run/said; grep "being repaired" /run/said
    pkill -CONT -f "[e]xercises.keeper"
    retry 20 is_repaired
  '
  succeeds
}

@test "the list has titles, points and progress as text, JSON, a page and a CSV; a damaged file is refused and kept" {
  run "$EXERCISE" list
  succeeds
  says "Large answers never arrive"
  says "Begin one: make exercise NAME="
  mkdir -p "${ATTEMPTS%/*}"
  cat >"$ATTEMPTS" <<<'{"version": 1, "attempts": [{"exercise": "large-answers-never-arrive", "seed": 7,
    "topology": "flat", "here": false, "began": "2026-11-28T10:00:00+00:00", "seconds": 250, "outcome": "solved",
    "score": 45, "points": 60, "hints": 1, "checks": 3, "resets": 0}]}'
  REPORT=1 JSON=1 REPORTS=$BATS_TEST_TMPDIR run --separate-stderr "$EXERCISE" list
  succeeds
  solved=$(jq -c '.exercises[] | select(.solved) | [.title, .best_score, .best_seconds]' <<<"$output")
  [[ $solved == '["Large answers never arrive",45,250]' ]]
  grep '"*large-answers-never-arrive"*,Large answers never arrive,3,60,1,yes,45,250,' "$BATS_TEST_TMPDIR/exercises.csv"
  grep '45 / 60' "$BATS_TEST_TMPDIR/exercises.html"
  run ! grep -rE 'mtu-of-port|ping -s' "$BATS_TEST_TMPDIR"/exercises.{csv,html}
  truncate -s 100 "$ATTEMPTS"
  for command in list "start mtu-of-port"; do
    # shellcheck disable=SC2086 # two words
    run -1 "$EXERCISE" $command
    says "$ATTEMPTS is damaged"
    says "mv $ATTEMPTS"
  done
  [[ $(stat -c %s "$ATTEMPTS") == 100 ]]
}
