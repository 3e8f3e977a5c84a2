# shellcheck shell=bash
# What every script shares: refusals, echoed commands, undo, the lock, waiting for a fact.
# Sourced, never run. "The host" is the network namespace the script was started in.

# What the caller has set for itself changes no command of the lab's. Proxies stay, for apt, pip and Docker.
unset CDPATH POSIXLY_CORRECT BASH_ENV ENV REDISCLI_AUTH PYTHONHOME PYTHONPATH PYTHONOPTIMIZE PYTHONWARNINGS "${!PG@}" "${!GIT_@}"
umask 022

set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8

ROOT=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)
SCRIPT=${0##*/}
ARGUMENTS=$*
STATE_DIR=/var/opt/cnet # what outlives a crash and `down`: databases, passwords, logs
RUN_DIR=/run/cnet       # what does not: sockets, the lock, generated configuration
LINK_GROUP=25955        # marks a link as the lab's, set in the same message that makes it
VENV=$ROOT/.venv
OUTSIDE_NAMESPACE=cnet-outside  # that the proofs make for themselves, and the host's interface to it
OUTSIDE_NETWORK=198.51.100.0/24 # in which it is: TEST-NET-2, RFC 5737
CURL_HOME=$ROOT/scripts/curl
export ROOT STATE_DIR RUN_DIR LINK_GROUP VENV OUTSIDE_NAMESPACE OUTSIDE_NETWORK CURL_HOME

[[ :$PATH: == *:/usr/sbin:* ]] || PATH=$PATH:/usr/sbin:/sbin # a user's PATH may lack them

# --- passwords ----------------------------------------------------------------------------------

PASSWORDS=(REDIS_PASSWORD REDIS_OPERATOR_PASSWORD DB_PASSWORD)
export PASSWORDS

# Print one password; nothing when the file does not hold it whole.
secret() { sed -nE "s/^$1=([0-9a-f]{48})\$/\1/p" "$STATE_DIR/secrets" 2>/dev/null | tail -n 1 || :; }

secrets_of() { # PROGRAM: names of the passwords that it holds: its store's, and for Redis the operator's
  case $1 in
    redis) echo REDIS_PASSWORD REDIS_OPERATOR_PASSWORD ;;
    product-service) echo REDIS_PASSWORD ;;
    postgres | order-service) echo DB_PASSWORD ;;
  esac
}

# --- speaking -----------------------------------------------------------------------------------

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  DIM=$'\e[2m' BOLD=$'\e[1m' RED=$'\e[31m' GREEN=$'\e[32m' YELLOW=$'\e[33m' PLAIN=$'\e[0m'
else
  DIM='' BOLD='' RED='' GREEN='' YELLOW='' PLAIN=''
fi
export DIM BOLD RED GREEN YELLOW PLAIN

# Notes go to standard error, so that standard output stays what was asked for.
say() { printf '%s\n' "$*" >&2; }

# One line that says what and where and what to do; nothing has been changed when it is said.
die() {
  printf '%s: %s\n' "$SCRIPT" "$*" >&2
  exit 1
}

# The path of the checkout gets into other languages: the supervisor's configuration, bridges' aliases, rules' comments.
case $ROOT in
  *[[:cntrl:]\"\'\`\$\\\#%\;]* | *'  '*)
    die "the path of this checkout, ${ROOT//[[:cntrl:]]/?}, has a quote, a control character, two spaces or one of \` \$ \\ # % ;, which other programs read otherwise; move it"
    ;;
esac

# The comment at the head of the calling script is its manual.
print_help() { awk 'NR > 1 && /^#/ { sub(/^# ?/, ""); print; next } NR > 1 { exit }' "$0"; }

bad_usage() {
  printf '%s: %s\n' "$SCRIPT" "$*" >&2
  print_help >&2
  exit 2
}

# A switch is on (1, yes, true) or off (0, no, false, empty); from here on it is 1 or empty.
SWITCHES=(DRY_RUN SHOW QUICK BACK ONCE FOLLOW RAW DOCKER_BUILD_OFFLINE)
read_switches() {
  local name
  for name in "${SWITCHES[@]}"; do
    case ${!name:-} in
      1 | yes | true) printf -v "$name" 1 ;;
      '' | 0 | no | false) printf -v "$name" '' ;;
      *)
        say "$SCRIPT: $name=${!name}: it takes 1 (on) or 0 (off)"
        exit 2
        ;;
    esac
  done
}
read_switches

# --- doing --------------------------------------------------------------------------------------

echo_command() { printf '%s+ %s%s\n' "$DIM" "$*" "$PLAIN"; }

# Shows the command, then does it; DRY_RUN=1 only shows it.
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

# retry_until SECONDS COMMAND...: waits for a fact, with a deadline by the uptime, which nobody can set.
retry_until() {
  local uptime deadline
  read -r uptime _ </proc/uptime # in hundredths of a second
  deadline=$((10#${uptime/./} + $1 * 100))
  shift
  until "$@"; do
    read -r uptime _ </proc/uptime
    ((10#${uptime/./} < deadline)) || return 1
    read -rt 0.05 <> <(:) || : # a pause that starts no process
  done
}

# Prints the difference between the clock and the uptime, in seconds; it changes only when the clock is set.
clock_offset() {
  local uptime
  read -r uptime _ </proc/uptime
  echo $((EPOCHSECONDS - ${uptime%.*}))
}

# Refuse a measurement during which the clock was set: bash can only measure by the time of day.
need_same_clock() { # OFFSET: what clock_offset printed before
  local step
  step=$(($(clock_offset) - $1))
  ((step * step <= 1)) || die "the clock was set by $step s during the measurement, so its times are wrong; run it again"
}

# --- before anything changes --------------------------------------------------------------------

need_root() { ((EUID == 0)) || die "needs root: sudo $0 $ARGUMENTS (or scripts/sandbox.sh run, which needs none)"; }

need_tools() {
  local tool missing=()
  for tool; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  ((${#missing[@]} == 0)) || die "missing: ${missing[*]}; sudo scripts/install.sh up"
}

need_lab() { [[ -n $(ip -o link show group "$LINK_GROUP" 2>/dev/null) ]] || die "the lab is not up: sudo make up"; }

# gone PID: it has ended, whether or not its parent has asked how (a zombie, proc(5)).
gone() { [[ ! -e /proc/$1 ]] || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# need_number NAME LEAST: a setting that is a whole number.
need_number() {
  [[ ${!1} =~ ^[0-9]{1,9}$ ]] || die "$1=${!1}: it takes a whole number"
  ((10#${!1} >= $2)) || die "$1=${!1}: it takes at least $2"
}

# need_folder NAME: a setting that is a folder to write to; it is made, and becomes absolute.
need_folder() {
  mkdir -p -- "${!1}" 2>/dev/null || die "$1=${!1}: no such folder, and none can be made"
  [[ -w ${!1} ]] || die "$1=${!1}: the folder cannot be written"
  declare -g "$1=$(cd -- "${!1}" && pwd)"
}

# What installs it writes its digests last: half an environment is none.
need_environment() { [[ -s $VENV/digests ]] || die "the Python environment $VENV is not there yet, or not wholly; sudo scripts/install.sh up"; }

# Make a file for root alone: whoever can open a lock file can also hold the lock.
make_private_file() {
  install -d -m 711 "$RUN_DIR"
  (umask 077 && : >>"$1")
  chmod 600 "$1"
}

wait_for_lock() {
  say "$SCRIPT: waiting for another run to end (lock $RUN_DIR/lock)"
  flock --timeout 120 9 || die "another run holds $RUN_DIR/lock for two minutes: $(fuser "$RUN_DIR/lock" 2>/dev/null)"
}

# Two runs never change the lab at once. A child of the holder goes on under its parent's lock.
take_lock() {
  [[ -z ${CNET_LOCKED:-} && -z ${DRY_RUN:-} ]] || return 0
  make_private_file "$RUN_DIR/lock"
  exec 9>>"$RUN_DIR/lock"
  flock --nonblock 9 || wait_for_lock
  [[ $RUN_DIR/lock -ef /proc/self/fd/9 ]] || { take_lock && return; } # `down` removed the file meanwhile
  export CNET_LOCKED=$$
}
