#!/usr/bin/env bash
# Install what the lab needs: Debian packages, and a Python virtual environment in the checkout.
#
#   scripts/install.sh up       install what is missing
#   scripts/install.sh dev      the same, and what tests, linters and benchmarks need
#   scripts/install.sh common   install services/common again if its sources changed
#   scripts/install.sh completion   complete `make` in this checkout, for your bash and zsh
#   scripts/install.sh down     remove the virtual environment; packages stay, other programs may need them
#   scripts/install.sh status   print what is missing; exit 1 if anything is
#   scripts/install.sh help
#
# Servers that packages install are not started on the host: the lab starts its own, in namespaces.

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/tools.sh
source "$ROOT/scripts/lib/tools.sh"

# COMMAND:PACKAGE on Debian and Ubuntu.
mapfile -t NEEDED < <(awk 'NF { print $1 ":" $4 }' <<<"$TOOLS")
DEV_TOOLS=(bats:bats socat:socat shellcheck:shellcheck shfmt:shfmt ab:apache2-utils pdftoppm:poppler-utils
  newuidmap:uidmap)
OPTIONAL_DEV_TOOLS=(tshark:tshark chromium:chromium promtool:prometheus) # Ubuntu has chromium as a snap only
SERVERS=(nginx redis-server postgresql prometheus)
COMMON=$ROOT/services/common

has() {
  case $1 in
    chromium) command -v chromium chromium-browser google-chrome >/dev/null ;;
    *) path_of "$1" >/dev/null ;;
  esac
}

missing_packages() { # COMMAND:PACKAGE...
  local tool
  for tool; do has "${tool%:*}" || echo "${tool#*:}"; done | sort -u
  "$(python)" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

# Print the tools that this distribution has a package for.
available() { # COMMAND:PACKAGE...
  local tool
  for tool; do
    if has "${tool%:*}" || has_candidate "${tool#*:}"; then
      echo "$tool"
    else
      say "${tool#*:} is not available on this system; tests that need it cannot run"
    fi
  done
}

has_candidate() { # PACKAGE: update apt's lists once if it is not in them
  can_install "$1" || { ((EUID == 0)) && apt-get update -qq >&2 && can_install "$1"; }
}

can_install() { apt-cache policy "$1" 2>/dev/null | grep 'Candidate: [^(]' >/dev/null; } # PACKAGE

# Use the distribution's Python: a user's own (pyenv, conda) is in a home folder that services cannot read.
python() { if [[ -x /usr/bin/python3 ]]; then echo /usr/bin/python3; else command -v python3 || echo python3; fi; }

# invoke-rc.d runs this program before it starts a server; exit status 101 forbids the start.
START_POLICY=/usr/sbin/policy-rc.d
START_POLICY_MARK='# cnet: while packages are installed; scripts/install.sh up removes this file'
forbid_starting_servers() {
  [[ ! -e $START_POLICY ]] || mv "$START_POLICY" "$START_POLICY.before-cnet"
  defer restore_start_policy
  printf '#!/bin/sh\n%s\nexit 101\n' "$START_POLICY_MARK" >"$START_POLICY"
  chmod +x "$START_POLICY"
}
restore_start_policy() { # repairs also after a killed run
  ! grep -qsxF -- "$START_POLICY_MARK" "$START_POLICY" || rm "$START_POLICY"
  [[ ! -e $START_POLICY.before-cnet ]] || mv "$START_POLICY.before-cnet" "$START_POLICY"
}

# Disable the servers that this run installed, or they would start at the next boot.
disable_new_servers() { # PACKAGE...
  local server
  [[ -d /run/systemd/system ]] || return 0
  for server in "${SERVERS[@]}"; do
    [[ " $* " != *" $server"* ]] || run systemctl disable --now "$server.service" ||
      say "could not disable $server.service"
  done
}

install_packages() { # PACKAGE...
  (($# > 0)) || return 0
  command -v apt-get >/dev/null ||
    die "missing packages (Debian's names): $*; install them with this distribution's tools"
  need_root
  say "installing: $*"
  forbid_starting_servers
  if ! apt-get install -y -qq --no-install-recommends --simulate "$@" &>/dev/null; then run apt-get update -qq; fi
  run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  disable_new_servers "$@"
}

pip_install() { run "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }

digest_of() { # FILE...
  cat "$@" "$ROOT"/services/*/requirements.txt "$COMMON/pyproject.toml" | sha256sum | cut -d' ' -f1
}

# The environment holds digests of the installed requirements: if the digest is among them, there is nothing to do.
install_python() { # FILE...
  local tools=("$ROOT/requirements.txt" "$@") services=("$ROOT"/services/*/requirements.txt) digest
  digest=$(digest_of "${tools[@]}")
  ! grep -qxF "$digest" "$VENV/digests" 2>/dev/null || return 0
  say "making the virtual environment $VENV (about a minute)"
  [[ -x $VENV/bin/python ]] || run "$(python)" -m venv "$VENV"
  pip_install "${tools[@]/#/--requirement=}"
  # Built with the flit-core just installed, so that pip needs no index if every package is there.
  pip_install --no-build-isolation "${services[@]/#/--requirement=}" "$COMMON"
  printf '%s\n' "$digest" "$(digest_of "${tools[0]}")" >>"$VENV/digests" # what `dev` installs includes what `up` needs
  chmod -R o+rX "$VENV"
}

# A service's container shows .venv, not services/common: install a copy, and again when its sources change.
install_common() {
  local digests
  digests=$(sha256sum "$COMMON"/pyproject.toml "$COMMON"/cnet_service/*.py)
  [[ $digests != "$(cat "$VENV/common" 2>/dev/null)" ]] || return 0
  pip_install --no-deps --no-build-isolation --force-reinstall "$COMMON"
  chmod -R o+rX "$VENV"/lib/python3*/site-packages/cnet_service*
  echo "$digests" >"$VENV/common"
}

up() {
  ((EUID != 0)) || restore_start_policy
  "$(python)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || [[ ! -x $(python) ]] ||
    die "$(python) is older than 3.11; install python3.11 or newer"
  local packages
  mapfile -t packages < <(missing_packages "${NEEDED[@]}" "${EXTRA[@]}")
  install_packages "${packages[@]}"
  install_python "${EXTRA_REQUIREMENTS[@]}"
  install_common
}

status() {
  local packages
  packages=$(missing_packages "${NEEDED[@]}" | tr '\n' ' ')
  [[ -z $packages ]] || echo "missing packages: $packages"
  [[ -x $VENV/bin/supervisord ]] || { echo "missing: the virtual environment $VENV" && return 1; }
  [[ -z $packages ]]
}

EXTRA=() EXTRA_REQUIREMENTS=()
completion() {
  local folder=${XDG_DATA_HOME:-$HOME/.local/share}/bash-completion/completions
  local file=$folder/make source
  source="source $(printf %q "$ROOT/scripts/completion.bash")"
  [[ ! -e $file || $(<"$file") == *scripts/completion.bash* ]] ||
    die "$file exists and is not the lab's; instead, add to ~/.bashrc: $source"
  mkdir -p "$folder"
  cat >"$file" <<EOF
[[ ! -e /usr/share/bash-completion/completions/make ]] || source /usr/share/bash-completion/completions/make
$source
EOF
  say "bash: new shells complete make in $ROOT, with the package bash-completion; $file does it"
  say "zsh: add to ~/.zshrc: autoload -U compinit bashcompinit && compinit && bashcompinit && $source"
}

case ${1:-help} in
  up | status) "$1" ;;
  dev)
    mapfile -t EXTRA < <(available "${OPTIONAL_DEV_TOOLS[@]}")
    EXTRA+=("${DEV_TOOLS[@]}") EXTRA_REQUIREMENTS=("$ROOT/requirements-dev.txt")
    up
    ;;
  common) install_common ;;
  completion) completion ;;
  down) run rm -rf "$VENV" ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
