# shellcheck shell=bash
# The two engines of docker/swarm.sh: their data, addresses and state. Sourced, never run.

# shellcheck source=docker/engine.sh
source "$(dirname "${BASH_SOURCE[0]}")/engine.sh"

DATA=/var/opt/cnet-swarm
STACK=cnet
ADDRESSES=('' 192.0.2.1 192.0.2.2) # TEST-NET-1 of RFC 5737
URL=http://${ADDRESSES[1]}:8081/api/products

namespace() { echo "cnet-swarm-$1"; }
on() { DOCKER_HOST=unix://$DATA/$1/docker.sock docker "${@:2}"; } # NODE COMMAND...
need_engine_at() { answers "$1" || die "no engine answers at node $1; docker/swarm.sh up"; }
answers() { on "$1" info &>/dev/null; }
at() { nsenter --net="/run/netns/$(namespace "$1")" -- "${@:2}"; } # NODE COMMAND...

all_run() {
  ! on 1 stack services "$STACK" --format '{{.Replicas}}' | awk -F'[/ ]' '$1 != $2 { bad = 1 } END { exit !bad }'
}
# Each request reaches one of four gateway workers, and each worker needs the list of instances, so send 20 requests.
is_serving() { at 1 curl -fsS -m 2 --fail-early -o /dev/null "$URL?[1-20]" 2>/dev/null; }
both_ready() { [[ $(on 1 node ls --format '{{.Status}}' | sort | uniq -c | awk '{ print $1 $2 }') == 2Ready ]]; }
