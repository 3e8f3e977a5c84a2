# shellcheck shell=bash
# A lab in a sandbox for as long as a script lives that looks at it from outside. Sourced, never run.

# start_lab SCRIPT...: its `up` one after another; LAB_INSIDE becomes the sandbox' first process. It waits for a word on a
# pipe whose other end this process holds: however this one ends, the sandbox ends too. What else the script starts and
# waits for, it starts by `watch`.
start_lab() {
  local folder
  folder=$(mktemp -d)
  defer rm -rf "$folder"
  mkfifo "$folder/alive"
  exec {LAB_ALIVE}<>"$folder/alive"
  say "bringing the lab up, in a sandbox"
  # shellcheck disable=SC2016 # the sandbox' words
  "$ROOT/scripts/sandbox.sh" run "$BASH" -euc 'ready=$1; shift; for script; do "$script" up </dev/null; done; touch "$ready"; read -r _' \
    lab "$folder/ready" "${@/#/$ROOT/}" &>"$folder/log" <"$folder/alive" {LAB_ALIVE}>&- &
  LAB=$!
  defer end_lab
  retry_until 90 ready_or_gone "$folder/ready" "$LAB" || :
  [[ -e $folder/ready ]] || die "the lab did not come up: $(tail -1 "$folder/log")"
  # shellcheck disable=SC2034 # used by those who source this
  LAB_INSIDE=$(pgrep --parent "$LAB")
}
ready_or_gone() { [[ -e $1 ]] || gone "$2"; }
end_lab() {
  exec {LAB_ALIVE}>&-
  retry_until 10 gone "$LAB" || kill -9 "$LAB"
}

# watch COMMAND...: runs it without that pipe, and ends it when this process ends.
watch() { setpriv --pdeathsig TERM "$@" {LAB_ALIVE}>&-; }
