# shellcheck shell=bash
# Shared by all scripts: messages, echoed commands, undo, checks, the lock, waiting.
# Sourced, never run. "The host" is the network namespace in which the script was started.

# Unset the caller's settings for bash, Python, git and PostgreSQL. Keep the proxies for apt, pip and Docker.
unset CDPATH POSIXLY_CORRECT BASH_ENV ENV REDISCLI_AUTH PYTHONHOME PYTHONPATH PYTHONOPTIMIZE PYTHONWARNINGS
# Without bytecode each start compiles its modules again. The supervisor's programs keep what lab/services.py sets.
[[ -n ${SUPERVISOR_ENABLED:-} ]] || unset PYTHONDONTWRITEBYTECODE
unset "${!PG@}" "${!GIT_@}"
umask 022

set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8

ROOT=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)
SCRIPT=${0##*/}
ARGUMENTS=$*
STATE_DIR=/var/opt/cnet # databases, passwords, logs: kept by a crash and by `down`
RUN_DIR=/run/cnet       # sockets, the lock, generated configuration
LINK_GROUP=25955        # marks a link as the lab's; set in the message that creates it
VENV=$ROOT/.venv
OUTSIDE_NAMESPACE=cnet-outside  # the proofs' outside namespace, and the host's interface to the namespace
OUTSIDE_NETWORK=198.51.100.0/24 # the outside's network: TEST-NET-2, RFC 5737
CURL_HOME=$ROOT/scripts/curl
export ROOT STATE_DIR RUN_DIR LINK_GROUP VENV OUTSIDE_NAMESPACE OUTSIDE_NETWORK CURL_HOME

[[ :$PATH: == *:/usr/sbin:* ]] || PATH=$PATH:/usr/sbin:/sbin # a user's PATH may not contain them

# --- messages -----------------------------------------------------------------------------------

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  DIM=$'\e[2m' BOLD=$'\e[1m' RED=$'\e[31m' GREEN=$'\e[32m' YELLOW=$'\e[33m' PLAIN=$'\e[0m'
else
  DIM='' BOLD='' RED='' GREEN='' YELLOW='' PLAIN=''
fi
export DIM BOLD RED GREEN YELLOW PLAIN

# Print a note to standard error; standard output is for results.
say() { printf '%s\n' "$*" >&2; }

# On a terminal, show TEXT until the next call replaces it; without TEXT remove the line.
show_progress() { [[ ! -t 2 ]] || printf '\r\e[K%s' "$*" >&2; } # [TEXT]

# Where something is wrong, each command says this; lab/messages.py has the same words.
export DIAGNOSE='to find the cause: sudo make diagnose'

count() { echo "$1 $2$( (($1 == 1)) || echo s)"; } # NUMBER NOUN

# Print one line (what, where, how to fix it) and exit. Call it only before the first change.
die() {
  printf '%s: %s\n' "$SCRIPT" "$*" >&2
  exit 1
}

# Other programs parse the checkout's path: it is in the supervisor's configuration, bridge aliases, rule comments.
case $ROOT in
  *[[:cntrl:]\"\'\`\$\\\#%\;]* | *'  '*)
    die "the path of this checkout, ${ROOT//[[:cntrl:]]/?}, has a quote, a control character, two spaces or one of" \
      "\` \$ \\ # % ;, which other programs misread; move it"
    ;;
esac

# Print the comment at the head of the calling script: its manual.
print_help() { awk 'NR > 1 && /^#/ { sub(/^# ?/, ""); print; next } NR > 1 { exit }' "$0"; }

bad_usage() {
  printf '%s: %s\n' "$SCRIPT" "$*" >&2
  print_help >&2
  exit 2
}

# Set each switch to 1 (1, yes, true) or to empty (0, no, false, empty).
SWITCHES=(DRY_RUN SHOW QUICK BACK ONCE FOLLOW RAW DOCKER_BUILD_OFFLINE)
read_switches() {
  local name
  for name in "${SWITCHES[@]}"; do
    case ${!name:-} in
      1 | yes | true) printf -v "$name" 1 ;;
      '' | 0 | no | false) printf -v "$name" '' ;;
      *)
        say "$SCRIPT: $name=${!name}: must be 1 (on) or 0 (off)"
        exit 2
        ;;
    esac
  done
}
read_switches
export -n JSON # it is for the script that was called, not for those that it calls: see json.sh

# --- commands --------------------------------------------------------------------------------------

echo_command() { printf '%s+ %s%s\n' "$DIM" "$*" "$PLAIN"; }

# Print the command, then run it; with DRY_RUN=1 only print it.
run() {
  echo_command "$@"
  [[ -n ${DRY_RUN:-} ]] || "$@"
}

UNDO=()
# Undo on the next line: `run ip netns add x; defer run ip netns del x`.
defer() { UNDO+=("$(printf '%q ' "$@")"); }
forget_undo() { UNDO=(); }
unwind() {
  local status=$? index
  trap - EXIT
  for ((index = ${#UNDO[@]} - 1; index >= 0; index--)); do
    eval "${UNDO[index]}" || say "$SCRIPT: could not undo: ${UNDO[index]}"
  done
  exit "$status"
}
trap unwind EXIT

# retry_until SECONDS COMMAND...: wait until COMMAND succeeds. It measures by the uptime, which cannot be set.
retry_until() {
  local uptime deadline
  read -r uptime _ </proc/uptime # in hundredths of a second
  deadline=$((10#${uptime/./} + $1 * 100))
  shift
  until "$@"; do
    read -r uptime _ </proc/uptime
    ((10#${uptime/./} < deadline)) || return 1
    read -rt 0.05 <> <(:) || : # sleep without a process
  done
}

# Print the clock minus the uptime, in seconds: it changes only when the clock is set.
clock_offset() {
  local uptime
  read -r uptime _ </proc/uptime
  echo $((EPOCHSECONDS - ${uptime%.*}))
}

# Exit if the clock was set during a measurement: bash measures by the time of day.
need_same_clock() { # OFFSET: an earlier output of clock_offset
  local step
  step=$(($(clock_offset) - $1))
  ((step * step <= 1)) ||
    die "the clock was set by $step s during the measurement, so its times are wrong; run it again"
}

# --- checks before the first change --------------------------------------------------------------------

need_root() { ((EUID == 0)) || die "needs root: sudo $0 $ARGUMENTS (or scripts/sandbox.sh run, which needs none)"; }

need_tools() {
  local tool missing=()
  for tool; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  ((${#missing[@]} == 0)) || die "missing: ${missing[*]}; sudo scripts/install.sh up"
}

need_lab() { [[ -n $(ip -o link show group "$LINK_GROUP" 2>/dev/null) ]] || die "the lab is not up: sudo make up"; }

# A zombie (proc(5)) has ended too; only its parent has not read its status.
process_ended() { [[ ! -e /proc/$1 ]] || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# need_number NAME MINIMUM: the setting must be a whole number, at least MINIMUM.
need_number() {
  [[ ${!1} =~ ^[0-9]{1,9}$ ]] || die "$1=${!1}: must be a whole number"
  ((10#${!1} >= $2)) || die "$1=${!1}: must be at least $2"
}

# need_folder NAME: create the folder that the setting names, and make its path absolute.
need_folder() {
  mkdir -p -- "${!1}" 2>/dev/null || die "$1=${!1}: no such folder, and it cannot be created"
  [[ -w ${!1} ]] || die "$1=${!1}: the folder cannot be written"
  declare -g "$1=$(cd -- "${!1}" && pwd)"
}

# install.sh writes the digests last, so without them the environment is incomplete.
need_environment() { [[ -s $VENV/digests ]] ||
  die "the Python environment $VENV is missing or incomplete; sudo scripts/install.sh up"; }

# Create a file for root alone: a user who can open a lock file can hold the lock.
make_private_file() {
  install -d -m 711 "$RUN_DIR"
  (umask 077 && : >>"$1")
  chmod 600 "$1"
}

wait_for_lock() {
  say "$SCRIPT: waiting for another run to end (lock $RUN_DIR/lock)"
  flock --timeout 120 9 || die "another run holds $RUN_DIR/lock for two minutes: $(fuser "$RUN_DIR/lock" 2>/dev/null)"
}

# Only one run changes the lab at a time. A child of the holder uses its parent's lock.
take_lock() {
  [[ -z ${CNET_LOCKED:-} && -z ${DRY_RUN:-} ]] || return 0
  make_private_file "$RUN_DIR/lock"
  exec 9>>"$RUN_DIR/lock"
  flock --nonblock 9 || wait_for_lock
  [[ $RUN_DIR/lock -ef /proc/self/fd/9 ]] || { take_lock && return; } # `down` removed the file meanwhile
  export CNET_LOCKED=$$
}
