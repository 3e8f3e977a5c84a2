# shellcheck shell=bash
# Bring a lab up in a sandbox for a script that inspects it from outside; it ends with the script. Sourced.

# start_lab SCRIPT...: run `SCRIPT up` in turn; set LAB_INSIDE to the sandbox's first process. That process reads a pipe
# whose other end this process holds, so the sandbox ends however this process ends. Start other programs by `watch`.
start_lab() {
  local folder
  folder=$(mktemp -d)
  defer rm -rf "$folder"
  mkfifo "$folder/alive"
  exec {LAB_ALIVE}<>"$folder/alive"
  say "bringing the lab up in a sandbox"
  # shellcheck disable=SC2016 # expanded in the sandbox
  "$ROOT/scripts/sandbox.sh" run "$BASH" -euc '
    ready=$1; shift; for script; do "$script" up </dev/null; done; touch "$ready"; read -r _' \
    lab "$folder/ready" "${@/#/$ROOT/}" &>"$folder/log" <"$folder/alive" {LAB_ALIVE}>&- &
  LAB=$!
  defer end_lab
  retry_until 90 ready_or_ended "$folder/ready" "$LAB" || :
  [[ -e $folder/ready ]] || die "the lab did not come up: $(tail -1 "$folder/log")"
  # shellcheck disable=SC2034 # used by scripts that source this
  LAB_INSIDE=$(pgrep --parent "$LAB")
}
ready_or_ended() { [[ -e $1 ]] || process_ended "$2"; }
end_lab() {
  exec {LAB_ALIVE}>&-
  retry_until 10 process_ended "$LAB" || kill -9 "$LAB"
}

# watch COMMAND...: run it without that pipe; it ends when this process ends.
watch() { setpriv --pdeathsig TERM "$@" {LAB_ALIVE}>&-; }
