#!/usr/bin/env bash
# Beyond one machine: two Docker engines, each in its own network namespace, joined by a veth pair; a Swarm on them.
#
#   +- cnet-swarm-1: dockerd, manager -+                     +- cnet-swarm-2: dockerd, worker -+
#   |  nginx, gateway, stores          |==== veth, VXLAN ====|  products, orders               |
#   +- 192.0.2.1 ----------------------+                     +- 192.0.2.2 ---------------------+
#
#   docker/swarm.sh up       engines, swarm, images (from the engine that answers), docker/stack.yml
#   docker/swarm.sh down     remove all of it; the machine's own engine is not changed
#   docker/swarm.sh status   nodes and tasks; 1 if one is missing
#   docker/swarm.sh verify   cross-node traffic, a rolling update, a node cut off and restored
#   docker/swarm.sh on NODE COMMAND...   docker COMMAND at node 1 or 2
#   docker/swarm.sh help
#
# It needs no IPVS in the kernel. The two engines' data is in /var/opt/cnet-swarm.

# shellcheck source=docker/swarm_nodes.sh
source "$(dirname "${BASH_SOURCE[0]}")/swarm_nodes.sh"

mapfile -t IMAGES < <(sed -n 's/^ *image: *//p' "$ROOT/docker/stack.yml")

make_wire() {
  local node
  for node in 1 2; do
    [[ -e /run/netns/$(namespace "$node") ]] || run ip netns add "$(namespace "$node")"
    run ip -n "$(namespace "$node")" link set lo up
  done
  ip -n "$(namespace 1)" link show wire &>/dev/null ||
    run ip -n "$(namespace 1)" link add wire type veth peer name wire netns "$(namespace 2)"
  for node in 1 2; do
    run ip -n "$(namespace "$node")" addr replace "${ADDRESSES[$node]}/24" dev wire
    run ip -n "$(namespace "$node")" link set wire up
  done
}

# Swarm identifies nodes by their host name, so each engine has its own host name, and its own data folder.
start_engine() { # NODE
  local home=$DATA/$1 name
  ! answers "$1" || return 0
  mkdir -p "$home"
  name=$(namespace "$1")
  echo_command nsenter --net="/run/netns/$name" dockerd --data-root "$home/data" --host "unix://$home/docker.sock"
  # shellcheck disable=SC2016 # the inner shell's words
  setsid nsenter --net="/run/netns/$name" -- unshare --uts -- "$BASH" -c 'hostname "$0"; exec "$@"' "$name" \
    dockerd --data-root "$home/data" --exec-root "$home/run" --pidfile "$home/pid" --host "unix://$home/docker.sock" \
    --containerd-namespace "$name" --containerd-plugins-namespace "$name-plugins" \
    &>"$home/log" </dev/null 9>&- &
  retry_until 30 answers "$1" || die "the engine of node $1 did not start: $(tail -1 "$home/log")"
}

copy_images() { # NODE
  local image here there wanted=()
  for image in "${IMAGES[@]}"; do
    here=$(docker image inspect --format '{{.Id}}' "$image")
    there=$(on "$1" image inspect --format '{{.Id}}' "$image" 2>/dev/null) || :
    [[ $here == "$there" ]] || wanted+=("$image")
  done
  ((${#wanted[@]} > 0)) || return 0
  say "copying ${#wanted[@]} images to node $1"
  docker save "${wanted[@]}" | on "$1" load --quiet >/dev/null
}

join_swarm() {
  is_active 1 || on 1 swarm init --advertise-addr "${ADDRESSES[1]}" >/dev/null
  is_active 2 || on 2 swarm join --token "$(on 1 swarm join-token -q worker)" \
    --advertise-addr "${ADDRESSES[2]}" "${ADDRESSES[1]}:2377" >/dev/null
  retry_until 20 both_ready || die "the nodes do not find each other: $(on 1 node ls)"
  on 1 node update --label-add role=edge "$(namespace 1)" >/dev/null
  on 1 node update --label-add role=inner "$(namespace 2)" >/dev/null
}
is_active() { [[ $(on "$1" info --format '{{.Swarm.LocalNodeState}}') == active ]]; } # NODE

copy_secrets() {
  local name
  make_secrets
  for name in redis_password db_password; do
    on 1 secret inspect "$name" &>/dev/null || on 1 secret create "$name" "$SECRETS/$name" >/dev/null
  done
}

up() {
  local image
  need_root
  need_engine
  need_tools ip nsenter unshare dockerd curl
  "$ROOT/docker/images.sh" up
  for image in "${IMAGES[@]}"; do docker image inspect "$image" &>/dev/null || run docker pull --quiet "$image"; done
  make_wire
  start_engine 1
  start_engine 2
  join_swarm
  copy_images 1
  copy_images 2
  copy_secrets
  run on 1 stack deploy --resolve-image never --compose-file "$ROOT/docker/stack.yml" "$STACK"
  retry_until 120 all_run ||
    die "not every task runs: $(on 1 stack services "$STACK" --format '{{.Name}} {{.Replicas}}' | tr '\n' ' ')"
  retry_until 60 is_serving || die "the platform does not answer at $URL"
  status
}
down() {
  need_root
  need_tools ip docker
  local node pid
  for node in 2 1; do
    ! answers "$node" || run on "$node" swarm leave --force || :
    if pid=$(cat "$DATA/$node/pid" 2>/dev/null) && [[ -e /proc/$pid ]]; then
      run kill "$pid"
      retry_until 30 process_ended "$pid" || die "dockerd ($pid) of node $node does not end; end it with kill -9 $pid"
    fi
    mounts_under "$DATA/$node" | xargs -r umount --lazy
    [[ ! -e /run/netns/$(namespace "$node") ]] || run ip netns del "$(namespace "$node")"
  done
  run rm -rf "$DATA"
}
mounts_under() { awk -v under="$1/" 'index($5, under) == 1 { print $5 }' /proc/self/mountinfo | sort -r; } # FOLDER

status() {
  answers 1 || die "no swarm runs; docker/swarm.sh up"
  on 1 node ls --format 'table {{.Hostname}}\t{{.Status}}\t{{.Availability}}\t{{.ManagerStatus}}'
  on 1 stack ps "$STACK" --filter desired-state=running --format 'table {{.Name}}\t{{.Node}}\t{{.CurrentState}}'
  both_ready && all_run
}

case ${1:-help} in
  up | down | status) "$1" ;;
  verify) exec "$ROOT/docker/swarm_verify.sh" all ;;
  on)
    [[ ${2:-} == [12] && $# -gt 2 ]] || bad_usage "on needs a node, 1 or 2, and a docker command"
    need_engine_at "$2" && "$@"
    ;;
  help) print_help ;;
  *) bad_usage "unknown command \"$1\"" ;;
esac
