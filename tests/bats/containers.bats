#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2314 # the text between single quotes runs inside the sandbox; `!` ends a test
# How a service is contained: what it sees and may use, what ends it, and what bounds it.

load helpers

setup_file() { share_lab 'scripts/network.sh up && scripts/nat.sh up && scripts/services.sh up'; }

FUNCTIONS='as() { scripts/contain.sh exec "$@"; } # as() NODE COMMAND...: the service'\''s user, in all its namespaces
pid_of() { scripts/services.sh status | awk -v node="$1" "\$2 == node { print \$NF }"; }
parent_of() { ps -o ppid= -p "$(pid_of "$1")" | tr -d " "; }
answers() { curl -fsS -m 2 -o /dev/null http://localhost:8080/api/products; }
nodes="api-gateway nginx-lb order-service postgres-db product-1 product-2 product-3 redis-cache service-registry"
'

@test "each service sees its own files and processes, has its own user and namespaces, and no more" {
  in_lab "$FUNCTIONS"'
    for node in $nodes; do
      scripts/contain.sh show "$node" >/run/view; cat /run/view
      folder=$(ls /proc/$(pid_of $node)/root/services)
      grep "^sees " /run/view | sed "s, /lab , ," | grep -xE "sees +/bin /dev /etc /lib (/lib32 )?(/lib64 )?(/libx32 )?/proc /sbin /services /state /tmp /usr /venv /services/$folder"
      grep -xE "writes +/dev/full /dev/null /dev/random /dev/shm /dev/urandom /dev/zero /state /tmp" /run/view
      grep -xE "host name +$node" /run/view
      grep -xE "user.s name +none on the host" /run/view
      grep -xE "nonewprivs: +1 " /run/view
      grep -E "^processes +sleep infinity;" /run/view
      grep "^limits: .*$([[ $node == postgres-db ]] && echo 536870912 || echo 268435456)$" /run/view
      grep "^limits: .*pids.max $([[ $node == postgres-db ]] && echo 256 || echo 128)$" /run/view
      grep -E "^capbnd: +0000000000000$([[ $node =~ nginx|registry ]] && echo 400 || echo 000) $" /run/view
      others=$(grep "^processes" /run/view | tr ";" "\n" | grep -cvE "sleep infinity|heartbeat.py|gunicorn|nginx:|redis-server|postgres" || :)
      ((others == 0))
      sockets=$(grep "^unix sockets" /run/view)
      [[ $sockets != *" @"* ]] # abstract ones
      grep "^uid" /run/view >>/run/users
      for kind in mnt pid ipc uts net; do readlink "/proc/$(pid_of $node)/ns/$kind"; done >>/run/namespaces
    done
    [[ $(sort -u /run/users | wc -l) == 9 ]]
    for kind in mnt pid ipc uts net; do readlink "/proc/self/ns/$kind" >>/run/namespaces; done
    [[ $(sort -u /run/namespaces | wc -l) == 50 ]] # 9 services and the host, 5 kinds
  '
  succeeds
}

@test "a broken-into service reaches nothing of the host or of others; its own code and state it does" {
  in_lab "$FUNCTIONS"'
    mkdir -p /run/home; install -m 644 /dev/null /run/home/letter
    for path in "$ROOT" "$ROOT/topology/flat.tsv" /var/opt/cnet/nodes /var/opt/cnet/log/redis-cache.log /var/opt/cnet/secrets \
      /run/cnet/lock /run/cnet/supervisord.conf /run/cnet/supervisor.sock /run/netns/postgres-db /run/home/letter /root /home /var/lib /old /sys; do
      for seen in "$path" "/proc/1/root$path"; do [[ ! -e $path ]] || refute as api-gateway ls -d "$seen"; done
    done
    as api-gateway ls -d /proc/1/root/services # that way can be read at all
    for node in api-gateway postgres-db redis-cache; do # what a process holds open is a way out, too
      as $node bash -c "for one in /proc/[0-9]*; do [[ \$one == /proc/\$\$ ]] || readlink \$one/{cwd,root,fd/*}; done" >/run/held || :
      cat /run/held; (($(wc -l </run/held) > 9))
      [[ -z $(grep -vE "^(/(state|dev|null|services|scripts|usr|venv|proc)?(/.*)?|(pipe|socket):.*|anon_inode:.*)$" /run/held) ]]
      [[ $(as $node ls /proc/1/cwd/) == "$(as $node ls /)" && -z $(grep -F "${ROOT%/*}" /run/held) ]]
    done
    other=$(pid_of redis-cache)
    refute as api-gateway kill -0 "$other"
    seen=$(as api-gateway ps -eo args)
    [[ $seen == *gunicorn* && ! $seen =~ redis|postgres|supervisord ]]
    as api-gateway bash -c "kill -0 \$(pgrep -o gunicorn || pgrep -of gunicorn)" # its own
    for path in /services/api-gateway/app.py /venv/bin/activate /usr/bin/env /etc/passwd /etc/resolv.conf; do
      refute as api-gateway bash -c "echo >>$path"
    done
    for path in /x /usr/x /services/x /services/api-gateway/x /venv/x /etc/x /dev/x /proc/sys/kernel/hostname; do
      refute as api-gateway bash -c "echo x >$path"
    done
    refute as api-gateway mount -t tmpfs none /tmp
    refute as api-gateway nsenter --target 1 --mount --net true
    refute as api-gateway hostname other
    as api-gateway head -c 20 /services/api-gateway/app.py
    as api-gateway bash -c "echo mine >/state/note; cat /state/note; echo >/dev/shm/x; echo >/tmp/x"
    [[ $(cat /var/opt/cnet/nodes/api-gateway/note) == mine ]]
    refute as product-1 cat /state/note
    as api-gateway bash -c "printf \"#!/bin/sh\n\" >/state/run; chmod 755 /state/run"; refute as api-gateway /state/run # noexec
  '
  succeeds
}

@test "no user but root can open the lock, the supervisor'\''s socket, its configuration, or a log" {
  in_lab "$FUNCTIONS"'
    user=$(stat -c %u /var/opt/cnet/nodes/product-1)
    for path in /run/cnet/lock /run/cnet/supervisord.conf /run/cnet/supervisor.sock /var/opt/cnet/log/product-1.log /var/opt/cnet/secrets \
      /var/opt/cnet/log /var/opt/cnet/nodes/redis-cache; do
      refute setpriv --reuid "$user" --clear-groups test -r "$path"
      test -r "$path"
    done
    refute setpriv --reuid "$user" --clear-groups flock /run/cnet/lock true
    flock --timeout 5 /run/cnet/lock true
    [[ $(find /run/cnet -type f -perm /o+w) == "" ]]
  '
  succeeds
}

@test "a service gets no terminal of root; a folder in a file's place and a frozen supervisor hold up nothing" {
  in_lab "$FUNCTIONS"'
    on_a_terminal() { script -qec "$*" /dev/null </dev/null; }
    on_a_terminal test -t 1
    refute on_a_terminal scripts/contain.sh exec redis-cache sh -c "\"test -t 0 || test -t 1 || test -t 2\""
    refute on_a_terminal scripts/contain.sh exec redis-cache sh -c "\"ls -l /proc/self/fd | grep -E /dev/\(pts\|tty\)\""
    for _ in {1..30}; do [[ $(on_a_terminal scripts/contain.sh exec redis-cache echo seen) == *seen* ]]; done # never too late
    [[ $(on_a_terminal scripts/contain.sh exec redis-cache sh -c "\"echo seen >&2; exit 7\"" || echo "$?") == *seen*7 ]]

    owners=/var/opt/cnet/nodes/service-registry/owners.tsv
    rm "$owners"; as service-registry mkdir -p /state/owners.tsv/x
    scripts/services.sh up >/dev/null; [[ -f $owners ]]; answers

    kill -STOP "$(cat /run/cnet/supervisord.pid)"
    timeout 60 scripts/services.sh down
    [[ -z $(pgrep supervisord) && -z $(pgrep gunicorn) ]]
    bring_up; answers
  '
  succeeds
}

@test "a stop is passed on to the program; killing its parent, or the supervisor, leaves nothing running" {
  in_lab "$FUNCTIONS"'
    ctl() { .venv/bin/supervisorctl -c /run/cnet/supervisord.conf "$@"; }
    for node in postgres-db product-1 redis-cache; do ctl stop $node; done
    grep "database system is shut down" /var/opt/cnet/log/postgres-db.log
    grep "received SIGTERM\|Received SIGTERM" /var/opt/cnet/log/redis-cache.log
    retry 5 grep "product-1 deregistered" /var/opt/cnet/log/service-registry.log
    for space in postgres-db product-service redis-cache; do [[ -z $(ip netns pids $space) ]]; done
    for node in postgres-db product-1 redis-cache; do ctl start $node; done
    retry 30 scripts/services.sh status
    program=$(pid_of redis-cache) heartbeat=$(pgrep -f -u "$(stat -c %u /var/opt/cnet/nodes/redis-cache)" heartbeat.py)
    kill -9 "$(parent_of redis-cache)"
    ended() { [[ ! -e /proc/$program && ! -e /proc/$heartbeat ]]; }; retry 5 ended
    retry 30 scripts/services.sh status                  # brought back
    kill -9 "$(pid_of nginx-lb)"; retry 30 answers       # the exit status reaches the supervisor
    grep "exited: nginx-lb (exit status 137" /var/opt/cnet/log/supervisord.log
    kill -KILL "$(pgrep -f -u "$(stat -c %u /var/opt/cnet/nodes/postgres-db)" heartbeat.py)"; sleep 1
    refute grep "terminating any other active server processes" /var/opt/cnet/log/postgres-db.log
    kill -9 "$(cat /run/cnet/supervisord.pid)"
    all_ended() { for node in $(ip netns list | cut -d" " -f1); do [[ $node == world || -z $(ip netns pids $node) ]] || return 1; done; }
    retry 30 all_ended
  '
  succeeds
}

@test "a service that takes memory or processes without end dies alone; a modest one goes on" {
  in_lab "$FUNCTIONS"'
    [[ -n $(find /sys/fs/cgroup -path "*cnet/*/product-1" -prune -print) ]] || { echo skip; exit 0; }
    others() { for node in $nodes; do [[ $node == product-1 ]] || pid_of $node; done; }
    before=$(others)
    as product-1 /venv/bin/python -c "bytearray(100 << 20)"                      # within the limit
    program=$(pid_of product-1)
    for pid in $(pgrep -f "[g]unicorn -c" -u "$(stat -c %u /var/opt/cnet/nodes/product-1)"); do echo 1000 >/proc/$pid/oom_score_adj; done
    refute as product-1 /venv/bin/python -c "bytearray(600 << 20)"
    ended() { [[ ! -e /proc/$program ]]; }; retry 10 ended                       # the service itself was the first
    retry 30 scripts/services.sh status
    [[ $(others) == "$before" ]]
    fork="import os, time
for number in range(%d):
    if os.fork() == 0: time.sleep(5); os._exit(0)"
    as redis-cache /venv/bin/python -c "$(printf "$fork" 50)"
    as redis-cache /venv/bin/python -c "$(printf "$fork" 300)" |& tee /run/said || :
    grep "Resource temporarily unavailable" /run/said
    answers
  '
  succeeds
  [[ $output != *skip* ]] || skip_by_kernel "no control group can be made"
}

@test "where no control group can be made, resource limits are in force, and the log says so" {
  sandboxed 'mount -t tmpfs none /sys/fs/cgroup; bring_up
    '"$FUNCTIONS"'
    grep "limits: no control group can be made, so 512 MB of data for each process, 128 processes" /var/opt/cnet/log/product-1.log
    scripts/contain.sh show product-1 | grep "rlimit: .*data 536870912"
    scripts/services.sh status; answers
  '
  succeeds
}

@test "labs in two sandboxes have control groups of their own, and neither leaves any" {
  groups() { find /sys/fs/cgroup -path "*/cnet/$1/*" -name cgroup.procs | sort; } # LAB
  [[ -w /sys/fs/cgroup/memory || -e /sys/fs/cgroup/cgroup.controllers ]] || skip_by_kernel "no control group can be made"
  first=$BATS_TEST_TMPDIR/first second=$BATS_TEST_TMPDIR/second # neither is taken down before its sandbox ends
  "$ROOT/scripts/sandbox.sh" run bash -euc "cd '$ROOT'; scripts/network.sh up; scripts/services.sh up; stat -Lc %i /proc/self/ns/net >'$first'
    until [[ -e '$first.ask' ]]; do sleep 0.1; done; scripts/services.sh status >'$first.status'" &>"$first.log" 3>&- &
  in_own_lab 'stat -Lc %i /proc/self/ns/net >'"'$second'; until [[ -s '$first' ]]; do sleep 0.1; done"
  succeeds
  [[ -n $(groups "$(cat "$first")") && -z $(groups "$(cat "$second")") ]]
  touch "$first.ask"
  wait
  [[ $(grep -c ^running "$first.status") == 9 && -z $(groups "$(cat "$first")") ]]
}

@test "data that belongs to another user is given to the service, and links are not followed" {
  in_lab "$FUNCTIONS"'
    scripts/services.sh down &>/dev/null
    data=/var/opt/cnet/nodes/postgres-db user=$(stat -c %u /var/opt/cnet/nodes/postgres-db)
    touch /run/precious; ln -s /run/precious $data/link
    chown -hR 1:1 $data
    bring_up
    [[ $(stat -c %u /run/precious) == 0 && $(find $data ! -uid "$(stat -c %u $data)" | wc -l) == 0 ]]
    (($(stat -c %u $data) >= 64100))
    answers
    # A resolver file that is replaced is seen at once.
    sed "s/timeout:1/timeout:2/" /etc/netns/product2/resolv.conf >/etc/netns/product2/new
    mv /etc/netns/product2/new /etc/netns/product2/resolv.conf
    as product-2 grep timeout:2 /etc/resolv.conf
  '
  succeeds
}
