# shellcheck shell=bash
# doctor: the lab's programs, and Python. Sourced.

# COMMAND, minimum version (- for any) and the option that prints it, package in Debian, Fedora and Arch.
# Reasons for the versions: bash EPOCHREALTIME and inherit_errexit; iptables its nft variant; unshare --kill-child and
# setpriv --pdeathsig; env --default-signal; fping -4's default and -C with -q; Redis maxmemory-clients; PostgreSQL
# client_connection_check_interval.
# ip is tried instead (see has_recent_ip).
TOOLS='
bash          5.0   --version  bash         bash                 bash
ip            -     -          iproute2     iproute              iproute2
bridge        -     -          iproute2     iproute              iproute2
ss            -     -          iproute2     iproute              iproute2
jq            1.5   --version  jq           jq                   jq
iptables      1.8   -V         iptables     iptables-nft         iptables-nft
ebtables      1.8   -V         iptables     iptables-nft         iptables-nft
nft           -     -          nftables     nftables             nftables
conntrack     1.4   -V         conntrack    conntrack-tools      conntrack-tools
curl          7.50  --version  curl         curl                 curl
ping          -     -          iputils-ping iputils              iputils
fping         4.0   -v         fping        fping                fping
sysctl        -     -          procps       procps-ng            procps-ng
pgrep         -     -          procps       procps-ng            procps-ng
fuser         -     -          psmisc       psmisc               psmisc
unshare       2.33  --version  util-linux   util-linux           util-linux
nsenter       -     -          util-linux   util-linux           util-linux
setpriv       2.33  --version  util-linux   util-linux           util-linux
flock         -     -          util-linux   util-linux-core      util-linux
hostname      -     -          hostname     hostname             inetutils
env           8.31  --version  coreutils    coreutils            coreutils
nginx         1.14  -v         nginx-light  nginx                nginx
redis-server  7.0   --version  redis-server valkey-compat-redis  valkey
postgres      14    --version  postgresql   postgresql-server    postgresql
dot           -     -          graphviz     graphviz             graphviz
tcpdump       -     -          tcpdump      tcpdump              tcpdump
python3       -     -          python3      python3              python
git           -     -          git          git                  git
'

# Debian has PostgreSQL's programs outside PATH, in a folder for each version.
path_of() {
  command -v "$1" && return
  [[ $1 == postgres ]] && compgen -G '/usr/lib/postgresql/*/bin/postgres' | sort -V | tail -1 | grep .
}

# iproute2's version was a date for years, so try the options that the lab uses.
has_recent_ip() {
  command -v jq >/dev/null || return 0
  ip -j link show lo 2>/dev/null | jq -e '.[0].ifname == "lo"' &>/dev/null && ip -batch - <<<'link show lo' &>/dev/null
}

version_of() { timeout 3 "$1" "$2" 2>&1 </dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | sed -n 1p; }

is_at_least() { printf '%s\n' "$1" "$2" | sort -CV; } # LEAST HAVE

check_tools() {
  local tool least flag debian fedora arch path have seen='' missing='' for_debian='' for_fedora='' for_arch=''
  while read -r tool least flag debian fedora arch; do
    [[ -n $tool ]] || continue
    if ! path=$(path_of "$tool"); then
      missing+=", $tool" for_debian+=" $debian" for_fedora+=" $fedora" for_arch+=" $arch"
    elif [[ $least != - ]]; then
      have=$(version_of "$path" "$flag") || have=0
      seen+=", $tool $have"
      is_at_least "$least" "$have" || problem "$tool is $have; at least $least is needed" "install a newer $debian"
    fi
  done <<<"$TOOLS"
  if [[ -n $missing ]]; then
    missing_tools "${missing#, }" "$(unique_words "$for_debian")" "$(unique_words "$for_fedora")" \
      "$(unique_words "$for_arch")"
  else
    ok "${seen#, }"
  fi
  ! command -v ip >/dev/null || has_recent_ip ||
    problem "ip does not support -j or -batch" "install a newer iproute2 (4.18 or later)"
}

unique_words() { tr ' ' '\n' <<<"$1" | awk 'NF && !seen[$0]++' | paste -sd' '; }

# With apt-get, `make up` installs them first; elsewhere it only lists them.
missing_tools() { # NAMES DEBIAN FEDORA ARCH
  if command -v apt-get >/dev/null; then
    note "missing: $1" "make up installs them, or sudo apt-get install $2 (Fedora: $3; Arch: $4)"
  else
    problem "missing: $1" "Fedora: sudo dnf install $3; Arch: sudo pacman -S $4; Debian: $2"
  fi
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
