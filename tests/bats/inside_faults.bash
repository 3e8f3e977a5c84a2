# shellcheck shell=bash
# What the test of the fault table uses inside its sandbox, beside inside.bash.

says_status() { # PATTERN: status says so, and is not content
  local status=0
  scripts/lab.sh status >/run/status 2>&1 || status=$?
  [[ $status != 0 ]] && grep -E -- "$1" /run/status >/dev/null
}
is_well() { scripts/lab.sh status >/run/status 2>&1; }

cure() { # HOW
  case $1 in
    up) converge ;;
    named)
      # What `up` says before it changes anything; the rest of it is left out by DRY_RUN.
      DRY_RUN=1 scripts/lab.sh up >/run/up 2>&1 || :
      sed -nE '/^foreign/s/.*: sudo //p' /run/status >/run/commands
      while read -r command; do grep -F -- "$command" /run/up >/dev/null || { echo "up does not name: $command" && return 1; }; done </run/commands
      bash -ex /run/commands && converge
      ;;
  esac
}

fault() { # NUMBER BREAK STATUS CURE
  local begun=$SECONDS
  eval "$2" >/run/broken 2>&1 || { echo "$1: could not be broken: $(</run/broken)" && return 1; }
  retry 15 says_status "$3" || { echo "$1: status does not name it ($3):" && sed -n '/^services/,$p' /run/status && return 1; }
  cure "$4" >/run/cured 2>&1 || { echo "$1: not cured by $4:" && tail -n 20 /run/cured && return 1; }
  retry 15 is_well || { echo "$1: not well after $4:" && sed -n '/^services/,$p' /run/status && return 1; }
  echo "ok $1 ($((SECONDS - begun)) s)"
}

faults() { # a line for each that is not as the table says
  local number break named cure failed=0
  while IFS=$'\t' read -r number break named cure <&8; do
    [[ $number == [0-9]* ]] || continue
    fault "$number" "$break" "$named" "$cure" || {
      failed=1
      heal_by_force
    }
  done 8<tests/bats/faults.tsv
  return "$failed"
}
heal_by_force() { # so that one fault does not hide the next
  scripts/lab.sh status 2>&1 | sed -nE '/^foreign/s/.*: sudo //p' | bash || :
  { scripts/lab.sh down && converge; } >/run/forced 2>&1 || { cat /run/forced && exit 1; }
}
