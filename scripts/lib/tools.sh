# shellcheck shell=bash
# The programs that the lab needs, for scripts/install.sh and scripts/doctor.sh. Sourced.

# COMMAND, minimum version (- for any) and the option that prints it, package in Debian, Fedora and Arch.
# Reasons for the versions: bash EPOCHREALTIME and inherit_errexit; iptables its nft variant; unshare --kill-child and
# setpriv --pdeathsig; env --default-signal; fping -4's default and -C with -q; Redis maxmemory-clients; PostgreSQL
# client_connection_check_interval.
# ip is tried instead (see has_recent_ip).
# shellcheck disable=SC2034 # used by the scripts that source this
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
