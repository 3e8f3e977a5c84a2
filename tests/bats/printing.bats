#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# What each verb prints, on terminals of 60 and 80 columns, into a pipe, and to a reader that ends early.

load helpers

setup_file() { share_lab; }

# Each verb that prints what it found, with its arguments; JSON if it takes JSON=1. Others print progress.
VERBS='
status        JSON
verify        JSON
prove         JSON
diagnose      JSON
doctor        JSON
explain       JSON  FROM=redis-cache TO=postgres-db PORT=5432
rules         JSON
topology      JSON
health        JSON  ONCE=1
connections   JSON
exercises     JSON
logs          -
distribution  -
help          -'

FUNCTIONS='
  export REPORTS=/run/reports
  unset NO_COLOR
  curl -sf localhost:8080/api/products >/dev/null # distribution needs a request
  on_terminal() { # COLUMNS COMMAND: run it on a terminal; its messages go elsewhere
    script -qec "stty cols $1; exec 2>>/run/messages; $2" /dev/null </dev/null || :
  }
  each_verb() { # FUNCTION: call it as FUNCTION VERB JSON|- ARGUMENT...
    while read -r -a words; do
      ((${#words[@]} == 0)) || "$1" "${words[@]}"
    done <<<"'"$VERBS"'"
  }
  plain() { sed "s/\x1b\[[0-9;?]*[a-zA-Z]//g"; }
'

@test "at 60 and 80 columns nothing is cut" {
  in_lab "$FUNCTIONS"'
    # Letters do not change from run to run as numbers do. A table that wraps keeps all of its letters.
    letters() { plain | tr -cd "a-zA-Z" | fold -w 1 | sort | uniq -c; }
    compare() {
      local verb=$1 columns
      # verify shows the beginning of an answer, ending in an ellipsis; logs, connections and topology differ from run
      # to run, or take another form on a narrow terminal: see test_printing.py.
      [[ $verb != @(verify|logs|connections|topology|health) ]] || return 0
      on_terminal 300 "make -s $verb ${*:3}" >/run/wide
      for columns in 60 80; do
        on_terminal "$columns" "make -s $verb ${*:3}" >/run/narrow
        refute grep "…" /run/narrow
        diff <(letters </run/wide) <(letters </run/narrow) || { echo "$verb at $columns"; exit 1; }
      done
    }
    each_verb compare
    on_terminal 60 "make -s topology" | plain >/run/narrow
    scripts/report.sh topology 2>/dev/null | tr -s " " "\n" | grep -E "^(veth|10\.|product|redis|postgres)" >/run/words
    while read -r word; do grep -F -- "$word" /run/narrow >/dev/null || { echo "no $word"; exit 1; }; done </run/words
  '
  succeeds
}

@test "colour is only on a terminal, and NO_COLOR=1 is respected there" {
  in_lab "$FUNCTIONS"'
    no_escapes() {
      make -s "$1" "${@:3}" >/run/pipe 2>&1 || :
      [[ -s /run/pipe ]]
      refute grep -P "\x1b" /run/pipe
      on_terminal 80 "NO_COLOR=1 make -s $1 ${*:3}" >/run/terminal
      refute grep -P "\x1b\[[0-9;]*(3[0-7]|4[0-7]|9[0-7]|38;|48;)" /run/terminal
    }
    each_verb no_escapes
    on_terminal 80 "make -s doctor" | grep -P "\x1b\[32m" >/dev/null # the counterpart
    on_terminal 80 "make -s exercises" | grep -P "\x1b\[" >/dev/null
  '
  succeeds
}

@test "a reader that ends early gets no error, from text and from JSON" {
  in_lab "$FUNCTIONS"'
    ends_early() { # run what make runs, because make prints a line of its own for a command that a signal ended
      make -ns "$1" "${@:3}" >/run/command
      { bash /run/command 2>/run/said || :; } | { read -r _ || :; }
      check_said "$1"
      [[ $2 == JSON ]] || return 0
      { JSON=1 bash /run/command 2>/run/said || :; } | { read -rn 10 _ || :; }
      check_said "$1 JSON=1"
    }
    check_said() {
      refute grep -iE "broken pipe|traceback|write error|exception" /run/said || { echo "$1"; cat /run/said; exit 1; }
    }
    each_verb ends_early
  '
  succeeds
}

@test "what takes over two seconds shows on a terminal what it does, and into a pipe only its result" {
  in_lab "$FUNCTIONS"'
    for verb in status doctor diagnose; do
      script -qec "make -s $verb" /dev/null </dev/null >/run/terminal
      grep -E "(asking each service|checking kernel|comparing the lab)" /run/terminal
      make -s "$verb" 2>&1 | cat >/run/pipe
      refute grep -E "(asking each service|checking kernel|comparing the lab)" /run/pipe
    done
  '
  succeeds
}
