# shellcheck shell=bash
# Chaos's faults that have an exercise: their commands are those of faults/catalogue. Sourced by faults.sh.

declare -A IN_CATALOGUE=([stopped]=frozen-program [cut]=port-down [read_only]=read-only-database)
declare -A VARIABLES=() # "FAULT NODE" -> assignments of faults/exercises/targets.py

begin() { # FAULT NODE
  if [[ -n ${IN_CATALOGUE[$1]:-} ]]; then catalogue_do "$1" "$2" break; else "begin_$1" "$2"; fi
}
end() { # FAULT NODE
  if [[ -n ${IN_CATALOGUE[$1]:-} ]]; then catalogue_do "$1" "$2" undo; else "end_$1" "$2"; fi
}

prepare() { # FAULT NODE: choose the variables before the fault begins, because that takes longer than the fault
  local name=${IN_CATALOGUE[$1]:-}
  [[ -z $name || -n ${VARIABLES["$1 $2"]:-} ]] ||
    VARIABLES["$1 $2"]=$(cd "$ROOT" && python3 -m faults.exercises.targets "$name" 1 "$2")
}

catalogue_do() { # FAULT NODE break|undo
  prepare "$1" "$2"
  eval "env ${VARIABLES["$1 $2"]//$'\n'/ } \"\$ROOT/faults/exercises/commands.sh\" ${IN_CATALOGUE[$1]} $3"
}
