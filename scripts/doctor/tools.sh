# shellcheck shell=bash
# doctor: the lab's programs, and Python. Sourced.

# iproute2's version was a date for years, so try the options that the lab uses.
has_recent_ip() {
  command -v jq >/dev/null || return 0
  ip -j link show lo 2>/dev/null | jq -e '.[0].ifname == "lo"' &>/dev/null && ip -batch - <<<'link show lo' &>/dev/null
}

version_of() { timeout 3 "$1" "$2" 2>&1 </dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | sed -n 1p; }

is_at_least() { printf '%s\n' "$1" "$2" | sort -CV; } # LEAST HAVE

check_tools() {
  local tool least flag debian path have seen='' missing=()
  while read -r tool least flag debian _; do
    [[ -n $tool ]] || continue
    if ! path=$(path_of "$tool"); then
      missing+=("$tool")
    elif [[ $least != - ]]; then
      have=$(version_of "$path" "$flag") || have=0
      seen+=", $tool $have"
      is_at_least "$least" "$have" || problem "$tool is $have; at least $least is needed" "install a newer $debian"
    fi
  done <<<"$TOOLS"
  if ((${#missing[@]} > 0)); then report_missing "${missing[@]}"; else ok "${seen#, }"; fi
  ! command -v ip >/dev/null || has_recent_ip ||
    problem "ip does not support -j or -batch" "install a newer iproute2 (4.18 or later)"
}

# With apt-get, `make up` installs them first; elsewhere it only lists them.
report_missing() { # TOOL...
  local names=$* debian fedora arch
  debian=$(packages_of 4 "$@") fedora=$(packages_of 5 "$@") arch=$(packages_of 6 "$@")
  if command -v apt-get >/dev/null; then
    note "missing: ${names// /, }" \
      "make up installs them, or sudo apt-get install $debian (Fedora: $fedora; Arch: $arch)"
  else
    problem "missing: ${names// /, }" "Fedora: sudo dnf install $fedora; Arch: sudo pacman -S $arch; Debian: $debian"
  fi
}

packages_of() { # COLUMN TOOL...: each package once
  awk -v column="$1" -v tools=" ${*:2} " \
    'index(tools, " " $1 " ") && !seen[$column]++ { printf "%s%s", blank, $column; blank = " " }' <<<"$TOOLS"
}

# Check the Python that scripts/install.sh uses.
check_python() {
  local python=/usr/bin/python3 version
  [[ -x $python ]] || python=$(command -v python3) || { problem "no python3" "install Python 3.11 or newer" && return; }
  version=$("$python" -c 'import platform; print(platform.python_version())')
  if ! is_at_least 3.11 "$version"; then
    problem "$python is $version; at least 3.11 is needed" "install python3.11 or newer"
  elif [[ -x $VENV/bin/supervisord ]]; then
    ok "$python $version, $VENV"
  elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null && ! command -v apt-get >/dev/null; then
    problem "$python $version cannot create virtual environments" "install its venv and ensurepip modules"
  else
    note "$python $version, no virtual environment in $VENV yet" "make up creates it, or sudo scripts/install.sh up"
  fi
}
