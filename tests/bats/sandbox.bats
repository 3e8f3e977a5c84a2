#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# The sandbox: a host of its own for a command, and nothing of it afterwards.

load helpers

@test "its exit status is the command's" {
  run "$ROOT/scripts/sandbox.sh" run bash -c 'exit 7'
  ((status == 7))
}

@test "the command is on 203.0.113.1, and the world answers for every other address" {
  sandboxed '
    ip -4 -o addr show uplink | grep 203.0.113.1/24
    ip route show default | grep "via 203.0.113.2"
    ping -c 1 -W 1 198.51.100.77
    ip netns exec world ping -c 1 -W 1 203.0.113.1
  '
  succeeds
}

@test "nothing is left: no namespace, link, mount, process or file" {
  state() { # but what Docker has, whose containers come and go meanwhile
    ip -o link | grep -cvE ': (docker0|docker_gwbridge|br-[0-9a-f]{12}|veth[0-9a-f]{7})[:@]'
    ls /run/netns 2>/dev/null
    grep -cvE "docker|cnet-swarm" /proc/self/mounts
    ls /var/opt /dev/shm
  }
  before=$(state)
  sandboxed '
    scripts/network.sh up >/dev/null; scripts/services.sh up &>/dev/null
    sleep 3600 & echo "$(lsns -t pid -o NS -n -p 1 | tail -1)"
  '
  succeeds
  [[ $(state) == "$before" ]]
  run ! grep -F "${lines[-1]// /}" < <(lsns -t pid -n -o NS)
}

@test "killed with -9, it takes all its processes along" {
  "$ROOT/scripts/sandbox.sh" run sleep 4242 &
  sleep 1
  kill -9 "$!"
  sleep 0.5
  run ! pgrep -fx 'sleep 4242'
}

@test "it says what it is: by its host name, by the prompt of its shell" {
  run "$ROOT/scripts/sandbox.sh" run hostname
  [[ $output == cnet-sandbox && $(hostname) != cnet-sandbox ]]
  run "$ROOT/scripts/sandbox.sh" run getent hosts cnet-sandbox
  says "127.0.1.1"
  run script -qec "$ROOT/scripts/sandbox.sh shell" /dev/null <<<exit
  says "[sandbox] "
}

@test "in its shells sudo runs a command, whether it is installed or not" {
  run "$ROOT/scripts/sandbox.sh" shell <<'EOT'
    sudo -E WORD=yes bash -c 'echo $WORD as $(id -u)'
    sudo false || echo "and fails with $?"
EOT
  says "yes as 0"
  says "and fails with 1"
}

@test "a second terminal enters a sandbox that runs, and names them when there are several" {
  run -1 unshare --pid --fork --mount-proc "$ROOT/scripts/sandbox.sh" enter
  says "no sandbox is running"
  run unshare --pid --fork --mount-proc bash -c '
    cd "$ROOT"
    scripts/sandbox.sh run bash -c "ip link add marked type bridge; sleep 20" & first=$!
    until entered=$(echo "hostname; ip -br link show marked" | scripts/sandbox.sh enter 2>/dev/null) && [[ $entered == *marked* ]]; do sleep 0.1; done
    echo "$entered"
    scripts/sandbox.sh run sleep 20 & second=$!
    text=; until [[ $text == *"several sandboxes are running"* ]]; do text=$(scripts/sandbox.sh enter 2>&1 </dev/null) || :; done
    echo "$text"
    pid=${text##*of } pid=${pid%% *}
    echo hostname | scripts/sandbox.sh enter "$pid" 2>/dev/null
    scripts/sandbox.sh enter 1 || echo "status $?"
    kill -9 "$first" "$second"
  '
  succeeds
  says "marked"
  says "several sandboxes are running; name one: scripts/sandbox.sh enter PID, of"
  says "process 1 is not a sandbox"
  says "status 1"
}

@test "several run at once and see nothing of each other" {
  for number in 1 2 3; do
    "$ROOT/scripts/sandbox.sh" run bash -c "cd '$ROOT'; scripts/network.sh up >/dev/null && ip link set br-app alias n$number && sleep 1 && ip link show br-app | grep alias.n$number && ip netns | grep -c ." &
  done >"$BATS_TEST_TMPDIR/all"
  wait
  [[ $(grep -c '^10$' "$BATS_TEST_TMPDIR/all") == 3 ]]
}

@test "it needs no root where the kernel lets users make namespaces" {
  ((EUID == 0)) || return 0 # this whole run is the proof
  unshare --user --map-root-user true || skip_by_kernel 'users may make no namespaces'
  # A user with subordinate ids, in an /etc that is there for this test alone.
  run unshare --mount bash -euo pipefail -c '
    home=$(mktemp -d); cp -a /etc "$home/etc"; mount --bind "$home/etc" /etc; trap "umount -l /etc; rm -rf $home" EXIT
    useradd --uid 2001 --home-dir "$home/learner" --create-home learner
    usermod --add-subuids 300000-365535 --add-subgids 300000-365535 learner
    mkdir "$home/learner/lab"; cp -r '"$ROOT"'/scripts '"$ROOT"'/lab '"$ROOT"'/topology '"$ROOT"'/services "$home/learner/lab"
    chown -R learner "$home/learner"; chmod 755 "$home"
    setpriv --reuid 2001 --regid 2001 --clear-groups env HOME="$home/learner" USER=learner "$home/learner/lab/scripts/sandbox.sh" run bash -c "
      cd $home/learner/lab; scripts/network.sh up >/dev/null && scripts/nat.sh up >/dev/null && scripts/verify.sh network"
  '
  succeeds
  says "81 of 81 pings answered"
}

@test "without a command it says how it is used, and exits with 2" {
  run "$ROOT/scripts/sandbox.sh" run
  ((status == 2))
  says 'run needs a command'
}

@test "PUBLISH leads ports of the machine's loopback into it, as long as it runs" {
  # A machine of its own, whose network is not this one's.
  run unshare --net --mount-proc --pid --fork bash -c '
    cd "$ROOT"; ip link set lo up
    PUBLISH=9080:8080,8050 scripts/sandbox.sh run bash -c "cd /run; echo from within >page
      python3 -m http.server --bind 127.0.0.1 8080 & exec python3 -m http.server --bind 127.0.0.1 8050" &>/dev/null & sandbox=$!
    until curl -fs http://127.0.0.1:9080/page; do :; done
    until curl -fs http://127.0.0.1:8050/page; do :; done
    ss -Hltn
    PUBLISH=8050 scripts/sandbox.sh run true; echo "status $?"
    PUBLISH=http scripts/sandbox.sh run true; echo "status $?"
    kill -9 "$sandbox"; wait
    until [[ -z $(ss -Hltn) ]]; do :; done
  '
  succeeds
  [[ $(grep -cx "from within" <<<"$output") == 2 ]]
  says "127.0.0.1:9080"
  says "cannot listen on 127.0.0.1:8050: Address already in use; use another port of the machine: PUBLISH=8051:8050"
  says 'PUBLISH: "http" is not PORT or PORT:SANDBOX_PORT'
  [[ $(grep -c "status 1" <<<"$output") == 2 ]]
}
