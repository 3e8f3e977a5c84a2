# shellcheck shell=bash
# A lab in a sandbox for as long as a script lives that looks at it from outside. Sourced, never run.

# start_lab SCRIPT...: its `up` one after another; LAB_INSIDE becomes the sandbox' first process.
start_lab() {
  local folder lab
  folder=$(mktemp -d)
  defer rm -rf "$folder"
  say "bringing the lab up, in a sandbox"
  # shellcheck disable=SC2016 # the sandbox' words
  "$ROOT/scripts/sandbox.sh" run "$BASH" -euc 'ready=$1; shift; for script; do "$script" up; done; touch "$ready"; exec sleep infinity' \
    lab "$folder/ready" "${@/#/$ROOT/}" &>"$folder/log" </dev/null &
  lab=$!
  defer kill "$lab"
  retry_until 90 ready_or_gone "$folder/ready" "$lab" || :
  [[ -e $folder/ready ]] || die "the lab did not come up: $(tail -1 "$folder/log")"
  # shellcheck disable=SC2034 # used by those who source this
  LAB_INSIDE=$(pgrep --parent "$lab")
}
ready_or_gone() { [[ -e $1 || ! -e /proc/$2 ]]; }
