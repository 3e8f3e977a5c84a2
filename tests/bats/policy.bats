#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# The policy as rules: all at once or none, nothing left behind, no hole at any moment.

load helpers

POLICED='source tests/bats/inside_policy.bash
'

@test "up twice is one, down leaves nothing, and status tells what differs" {
  sandboxed "$POLICED"'
    scripts/network.sh up >/dev/null; scripts/nat.sh up >/dev/null
    host_state >/run/before
    security/policy.sh up >/dev/null
    state() { iptables-save -c | grep -v "^[#:]"; ebtables-save -c | grep -v "^[#:]"; }
    state >/run/once
    said=$(security/policy.sh up); [[ -z $said ]]
    state | diff /run/once -
    security/policy.sh status
    iptables -t security -D CNET-TO-10.0.0.60 1
    said=$(security/policy.sh status) && exit 1
    [[ $said == *missing*database* ]]
    security/policy.sh up >/dev/null; security/policy.sh status
    ip link set br-app type bridge nf_call_iptables 0
    said=$(security/policy.sh status) && exit 1
    [[ $said == *"br-app passes its frames to iptables"* ]]
    security/policy.sh up >/dev/null; security/policy.sh status
    security/policy.sh down >/dev/null
    uncounted /run/before
  '
  succeeds
}

@test "a hook that is behind a foreign rule is drift in each chain of each table, named with the rule, and up puts it first" {
  sandboxed "$POLICED"'policed_network
    chains=$({ iptables-save && ebtables-save | sed "s/^\*/*ebtables /"; } | awk "/^\\*/ { table = substr(\$0, 2) } /^-A [A-Z]+ .*-j CNET-/ { print table, \$2 }" | sort -u)
    [[ $(wc -l <<<"$chains") == 13 ]]
    while read -r place; do
      chain=${place##* } table=${place% *}
      case $table in
        ebtables*) foreign=(ebtables -t "${table#* }" -s 02:00:00:00:00:01 -j CONTINUE) rule="-s 02:00:00:00:00:01 -j CONTINUE" ;;
        *) foreign=(iptables -t "$table" -s 192.0.2.7/32 -j RETURN) rule="-s 192.0.2.7/32 -j RETURN" ;;
      esac
      "${foreign[@]:0:3}" -I "$chain" 1 "${foreign[@]:3}"
      if said=$(scripts/nat.sh status && security/policy.sh status); then echo "not named: $place"; exit 1; fi
      [[ $said == *"behind   the lab'"'"'s hook in ${table#ebtables } $chain comes after a rule that is not the lab'"'"'s: -A $chain $rule"* ]]
      scripts/nat.sh up >/dev/null; security/policy.sh up >/dev/null
      scripts/nat.sh status; security/policy.sh status
      "${foreign[@]:0:3}" -D "$chain" "${foreign[@]:3}" # it is still there
    done <<<"$chains"
    iptables -N T; iptables -A T -j REJECT; iptables -I FORWARD 1 -j T
    said=$(scripts/nat.sh status) && exit 1
    [[ $said == *"in filter FORWARD comes after a rule that is not the lab'"'"'s: -A FORWARD -j T" ]]
    scripts/nat.sh up >/dev/null
    security/prove.sh >/run/proof || { tail -5 /run/proof; exit 1; }
    iptables -S FORWARD | sed -n 3p | grep -x -- "-A FORWARD -j T"
  '
  succeeds
}

@test "verify tries what the policy allows, and no way out that it closes; a table that cannot be read ends it" {
  sandboxed "$POLICED"'sed -E "s/^(web-out\\t+)br-app/\\1nginx-lb/" security/flat.tsv >/run/mine.tsv
    export POLICY=/run/mine.tsv
    policed_network
    scripts/verify.sh network >/run/proof || { cat /run/proof; exit 1; }
    grep -E "nginx-lb +10.0.0.10 +is seen outside as" /run/proof
    grep -E "postgres-db +has no access to the outside: the policy denies it" /run/proof
    grep -E "from a namespace: host:8080 -> nginx-lb:80 +from [a-z0-9-]+" /run/proof
    sed "s/accept/acept/" security/flat.tsv >/run/bad.tsv
    POLICY=/run/bad.tsv fails_with 1 "acept" scripts/verify.sh network
    POLICY=/run/none.tsv fails_with 1 "/run/none.tsv: no such policy file" scripts/verify.sh network
  '
  succeeds
}

@test "rules of others that the lab meets are named with the command that helps, what protects the host itself is not" {
  sandboxed "$POLICED"'policed_network
    table() { nft "add table inet mine; $1"; }
    named() { .venv/bin/python -m security.rules.foreign; }
    meets() { # what does it: it is named until the command that status gives was run
      "$@"; named >/run/named
      [[ -s /run/named ]] || { echo "not named: $*"; exit 1; }
      sed -E "s/.*: sudo //; s/&& sudo/\&\&/" /run/named | bash -e
      [[ -z $(named) ]] || { echo "not healed: $*"; cat /run/named; exit 1; }
    }
    iptables -N f2b; iptables -A f2b -s 198.51.100.7 -j REJECT
    iptables -A INPUT -p tcp -m multiport --dports 80,443,8080 -j f2b; iptables -A INPUT -p tcp --dport 5432 -j DROP
    iptables -A FORWARD -s 10.0.0.20 -j DROP # after the hook
    table "add chain inet mine i { type filter hook input priority 0; }; add rule inet mine i tcp dport 5432 drop"
    [[ -z $(named) ]]
    meets iptables -t nat -A PREROUTING -i br-app -p tcp --dport 80 -j REDIRECT --to-ports 9
    meets iptables -t nat -A OUTPUT -d 10.0.0.10 -p tcp -j REDIRECT --to-ports 9
    meets iptables -t mangle -A FORWARD -s 10.0.0.0/16 -j DROP
    table "add chain inet mine f { type filter hook forward priority 10; }; add chain inet mine x; add rule inet mine x drop"
    meets table "add rule inet mine f ip daddr vmap { 10.0.0.30 : drop }"
    meets table "add rule inet mine f iifname \"br-app\" tcp dport vmap { 6379 : drop }"
    meets table "add rule inet mine f iifname vmap { \"br-app\" : jump x }"
    meets table "add map inet mine fates { type ipv4_addr : verdict; elements = { 10.0.0.30 : drop }; }; add rule inet mine f ip daddr vmap @fates"
    meets table "add chain inet mine f { policy drop; }"
    meets table "add table bridge mine; add chain bridge mine f { type filter hook forward priority 0; policy drop; }"
    if iptables -V | grep nf_tables >/dev/null && iptables-legacy -L >/dev/null 2>&1; then meets iptables-legacy -P FORWARD DROP; fi
    security/prove.sh >/run/proof || { tail -5 /run/proof; exit 1; }
  '
  succeeds
}

@test "a policy whose rules somebody deleted is missed: status says so, explain calls what passes against it, up loads it" {
  sandboxed "$POLICED"'policed_network
    listen postgres-db 5432
    nft delete table ip security; nft delete table ip raw; nft delete table bridge nat
    ip link set br-app type bridge nf_call_iptables 0 nf_call_ip6tables 0 nf_call_arptables 0
    said=$(scripts/lab.sh status 2>&1) && exit 1
    grep -E "^missing +the whole policy: [0-9]{3} rules$" <<<"$said"
    grep "^missing  br-app passes its frames to iptables" <<<"$said"
    [[ $(security/explain.sh redis-cache postgres-db 5432 --json | jq -r .outcome.kind) == "allowed, AGAINST the policy" ]]
    scripts/lab.sh network >/run/up 2>&1 || { cat /run/up; exit 1; }
    refute reaches redis-cache postgres-db 5432
    security/policy.sh status
    security/policy.sh down >/dev/null; [[ $(scripts/lab.sh status 2>&1 || :) != *policy* ]]
  '
  succeeds
}

@test "a bad table is refused with its line, and the running rules and their counters stay" {
  sandboxed "$POLICED"'policed_network
    listen postgres-db 5432; reaches order-service postgres-db 5432
    state() { iptables-save -c -t security; ebtables-save; }
    frames() { ebtables-save -c | awk "/ -j CNET-FRAMES/ { split(substr(\$1, 2), count, \":\"); print count[1] }"; } # ARP goes on
    state | grep -v "^#" >/run/before; seen=$(frames)
    printf "shadow\tredis-cache\tpostgres-db\ttcp\t5432\t-\taccept\twhy\n" | cat security/flat.tsv - >/run/bad.tsv
    POLICY=/run/bad.tsv fails_with 1 "/run/bad.tsv:$(wc -l </run/bad.tsv): verdict: \"shadow\"" security/policy.sh up || POLICY=/run/bad.tsv fails_with 1 "shadowed by line" security/policy.sh up
    printf "id\tfrom\n" >/run/bad.tsv
    POLICY=/run/bad.tsv fails_with 1 "the column is missing from the header line" security/policy.sh up
    POLICY=/run/none.tsv fails_with 1 "/run/none.tsv: no such policy file" security/policy.sh up
    state | grep -v "^#" | diff /run/before -
    ((seen > 0 && $(frames) >= seen))
  '
  succeeds
}

@test "who deletes the policy that is in force is told how to go back, and a policy may be named as a table is" {
  sandboxed "$POLICED"'
    cp security/flat.tsv /run/mine.tsv
    POLICY=/run/mine.tsv policed_network
    rm /run/mine.tsv
    for command in up status; do
      fails_with 1 "/run/mine.tsv: no such policy file; use another, or one of the lab'"'"'s: sudo make up POLICY=flat or POLICY=tiers" security/policy.sh "$command"
    done
    POLICY=flat security/policy.sh up >/dev/null
    [[ $(security/policy.sh path) == "$ROOT/security/flat.tsv" ]]
    security/policy.sh status
    POLICY=/run/mine.tsv security/policy.sh down >/dev/null; [[ $(iptables-save) != *CNET-FROM-NODES* ]]
  '
  succeeds
}

@test "tables at the longest path are as wanted after up; one byte more, or a quote, is refused before anything changes" {
  sandboxed "$POLICED"'
    far=/run/$(printf "f%.0s" {1..200}); mkdir "$far"
    longest=$far/$(printf "x%.0s" {1..34})
    cp topology/flat.tsv "$longest"; cp security/flat.tsv "$far/policy $(printf "x%.0s" {1..27})"
    export TOPOLOGY=$longest POLICY="$far/policy $(printf "x%.0s" {1..27})"
    ((${#TOPOLOGY} == 240 && ${#POLICY} == 240))
    policed_network
    [[ $(security/policy.sh path) == "$POLICY" ]]
    unset POLICY TOPOLOGY # the kernel remembers them
    for script in scripts/network scripts/nat security/policy; do $script.sh status; said=$($script.sh up); [[ -z $said ]]; done
    for name in "${longest}x" "/run/a\"b" "/run/a
b"; do
      cp topology/flat.tsv "$name"; cp security/flat.tsv "$name.policy" 2>/dev/null || :
      host_state >/run/before
      for script in scripts/network scripts/nat security/policy; do TOPOLOGY=$name fails_with 1 "the path" $script.sh up; done
      [[ ! -e $name.policy ]] || POLICY=$name.policy fails_with 1 "the path" security/policy.sh up
      uncounted /run/before
    done
  '
  succeeds
}

@test "at no moment of up, of a change, of a crash or of down is a denied connection possible" {
  sandboxed "$POLICED"'
    begin_flood redis-cache 10.0.0.60 5432
    policed_network; sleep 2
    cp security/flat.tsv /run/other.tsv
    printf "extra\tproduct-1\tproduct-2\ttcp\t7000\t-\taccept\twhy\n" >>/run/other.tsv
    for _ in 1 2 3; do POLICY=/run/other.tsv security/policy.sh up >/dev/null; POLICY=$PWD/security/flat.tsv security/policy.sh up >/dev/null; done
    for delay in 0.1 0.2 0.3 0.4 0.5 0.6; do
      POLICY=/run/other.tsv setsid security/policy.sh up >/dev/null 2>&1 & pid=$!
      sleep "$delay"; kill -9 -- "-$pid" 2>/dev/null || :; wait "$pid" || :
      POLICY=$PWD/security/flat.tsv security/policy.sh up >/dev/null
    done
    scripts/nat.sh down >/dev/null; scripts/nat.sh up >/dev/null
    ip netns del redis-cache; scripts/network.sh up >/dev/null
    iptables -I FORWARD -j ACCEPT # somebody who lets everything through: the policy is asked after them
    sleep 0.3; iptables -D FORWARD -j ACCEPT
    scripts/nat.sh down >/dev/null; scripts/network.sh down >/dev/null; security/policy.sh down >/dev/null
    end_flood
    read -r tried through </run/flood
    ((tried > 100 && through == 0))
    begin_flood redis-cache 10.0.0.60 5432 # the twin: without a policy it gets through
    scripts/network.sh up >/dev/null; sleep 3 # who asked before there was anybody asks again after a second
    end_flood
    read -r tried through </run/flood
    ((through > 0))
  '
  succeeds
}

@test "what was connected before is cut when the policy denies it, what it allows goes on" {
  sandboxed "$POLICED"'
    scripts/network.sh up >/dev/null
    talk() { # NODE PORT: says something each 0.1 s over one connection
      in_node postgres-db timeout 20 socat -u "TCP-LISTEN:$2,bind=10.0.0.60" "OPEN:/run/heard.$2,creat,append" &
      retry 5 in_node postgres-db bash -c "ss -Hltn sport = :$2 | grep . >/dev/null"
      in_node "$1" bash -c "exec 5<>/dev/tcp/10.0.0.60/$2; while :; do echo x >&5; sleep 0.1; done" &
      retry 5 test -s "/run/heard.$2"
    }
    size() { stat -c %s "/run/heard.$1"; }
    talk redis-cache 5433; talk order-service 5432
    security/policy.sh up >/dev/null
    sleep 0.5; denied=$(size 5433) allowed=$(size 5432); sleep 1
    (($(size 5433) == denied && $(size 5432) > allowed))
  '
  succeeds
}

@test "what went on between nodes while there was no policy does not break connections when it is back" {
  sandboxed "$POLICED"'
    scripts/network.sh up >/dev/null
    scripts/nat.sh up >/dev/null # its rules keep conntrack awake
    security/policy.sh up >/dev/null
    in_node product-1 timeout 30 socat TCP-LISTEN:5000,bind=10.0.0.30,reuseaddr,fork EXEC:cat &
    retry 5 listens 5000 product-service
    talk() { # FIFO: a line in, a line out, from a port that is always the same
      mkfifo "/run/to.$1" "/run/from.$1"
      in_node api-gateway socat - TCP:10.0.0.30:5000,sourceport=40000,reuseaddr <"/run/to.$1" >"/run/from.$1" &
    }
    talk policed; exec 5>/run/to.policed 6</run/from.policed
    echo one >&5; read -rt 3 heard <&6; [[ $heard == one ]]
    security/policy.sh down >/dev/null
    exec 5>&-; cat <&6 >/dev/null # the connection ends, unseen; the next one has its ports and other numbers
    retry 5 refute in_node api-gateway bash -c "ss -Htn sport = :40000 | grep . >/dev/null"
    talk unseen; exec 5>/run/to.unseen 6</run/from.unseen
    echo two >&5; read -rt 3 heard <&6; [[ $heard == two ]]
    security/policy.sh up >/dev/null
    echo three >&5; read -rt 3 heard <&6; [[ $heard == three ]]
  '
  succeeds
}

@test "beside Docker, whose FORWARD drops and lets through: the policy decides for the lab, and for nobody else" {
  sandboxed "$POLICED"'
    iptables -P FORWARD DROP; iptables -N DOCKER-USER; iptables -I FORWARD -j DOCKER-USER; iptables -I DOCKER-USER -s 10.0.0.50 -j ACCEPT
    ip link add docker0 type bridge; ip addr add 172.30.0.1/24 dev docker0; ip link set docker0 up
    policed_network
    listen postgres-db 5432
    reaches order-service postgres-db 5432
    refute reaches redis-cache postgres-db 5432 # although Docker'\''s own chain would let it
    [[ $(ip -j -d link show docker0 | jq ".[0].linkinfo.info_data.nf_call_iptables") == 0 ]]
    iptables -S FORWARD | sed -n 1p | grep -x -- "-P FORWARD DROP"
    security/prove.sh >/run/proof || { tail -5 /run/proof; exit 1; }
    security/policy.sh down >/dev/null; scripts/nat.sh down >/dev/null
    iptables -S | grep -x -- "-A DOCKER-USER -s 10.0.0.50/32 -j ACCEPT"
  '
  succeeds
}

@test "packets between nodes meet no rule of others, in whichever table, on one bridge and on several" {
  sandboxed "$POLICED"'
    for TOPOLOGY in flat tiers; do
      export TOPOLOGY
      iptables -t nat -A PREROUTING -p tcp --dport 6379 -j REDIRECT --to-ports 3128 # before up
      policed_network
      networks=$(scripts/topology.sh dump | awk -F"\t" "\$1 == \"bridge\" { print \$4 }" | paste -sd,)
      for chain in "raw PREROUTING" "mangle PREROUTING" "mangle FORWARD" "filter FORWARD" "security FORWARD" "mangle POSTROUTING"; do
        iptables -t "${chain% *}" -A "${chain#* }" -s "$networks" -d "$networks" -m addrtype ! --dst-type LOCAL -p tcp -j DROP
      done
      iptables -t nat -A POSTROUTING -j MASQUERADE
      in_node redis-cache socat TCP-LISTEN:6379,reuseaddr,fork "SYSTEM:echo \$SOCAT_PEERADDR" & server=$!
      retry 5 listens 6379 "$(namespace_of redis-cache)"
      [[ $(in_node product-1 timeout 3 socat - "TCP:$(address_of redis-cache):6379,bind=$(address_of product-1)") == "$(address_of product-1)" ]]
      security/prove.sh >/run/proof || { tail -5 /run/proof; exit 1; }
      scripts/nat.sh status; security/policy.sh status
      kill "$server"; scripts/nat.sh down >/dev/null; scripts/network.sh down >/dev/null; security/policy.sh down >/dev/null
    done
  '
  succeeds
}

@test "both shipped policies are proven, and a rule that is gone, or somebody else'\''s, is found" {
  sandboxed "$POLICED"'policed_network
    security/prove.sh | tail -1 | grep "differences: 0"
    refute reaches redis-cache postgres-db 5432 # what the proof tried is not counted
    said=$(scripts/lab.sh status 2>&1) || : # its services do not run
    grep -xE " +[0-9]+  database-closed" <<<"$said"
    iptables -t security -D CNET-TO-10.0.0.60 2
    security/prove.sh >/run/proof && exit 1
    grep -- "-> postgres-db .*: must be dropped by database-closed; it was dropped by default" /run/proof
    security/policy.sh up >/dev/null
    iptables -I FORWARD -s 10.0.0.40 -d 10.0.0.60 -j DROP
    security/prove.sh >/run/proof && exit 1
    grep -- "order-service -> postgres-db tcp/5432: must pass by database; it was lost" /run/proof
    iptables -D FORWARD -s 10.0.0.40 -d 10.0.0.60 -j DROP
    iptables -t nat -I POSTROUTING -s 10.0.0.40 -d 10.0.0.60 -j MASQUERADE; conntrack -F 2>/dev/null
    security/prove.sh >/run/proof && exit 1
    grep "order-service -> postgres-db tcp/5432: must pass by database; it arrived from 10.0.0.1 and not from 10.0.0.40" /run/proof
    iptables -t nat -D POSTROUTING -s 10.0.0.40 -d 10.0.0.60 -j MASQUERADE; conntrack -F 2>/dev/null
    ip link set br-app type bridge nf_call_iptables 0
    security/prove.sh >/run/proof && exit 1
    grep "it arrived: the rule that should drop it is missing, or packets do not reach it" /run/proof >/dev/null
    scripts/nat.sh down >/dev/null; scripts/network.sh down >/dev/null
    export TOPOLOGY=tiers; policed_network
    security/prove.sh | tail -1 | grep "differences: 0"
  '
  succeeds
}

@test "the proof can be run again at once: the connections that it opened to the limit count no more" {
  sandboxed "$POLICED"'policed_network
    for _ in {1..8}; do security/prove.sh >/run/proof || { grep differs /run/proof; exit 1; }; done
    printf "table inet mine {\n chain f {\n type filter hook forward priority 0;\n ct state invalid drop\n }\n}\n" | nft -f -
    security/prove.sh >/run/proof || { grep differs /run/proof; exit 1; } # what a firewall takes of what the policy forbids
    grep "[1-9][0-9]* were lost before the policy" /run/proof
  '
  succeeds
}

@test "what the policy DROP of the host'\''s INPUT takes is counted as the host'\''s; without it the same loss is a difference" {
  sandboxed "$POLICED"'policed_network
    iptables -P INPUT DROP; iptables -A INPUT -i lo -j ACCEPT; iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
    security/prove.sh >/run/proof || { tail -5 /run/proof; exit 1; }
    grep "[1-9][0-9]* were lost before the policy, as in a firewall of the host; differences: 0" /run/proof
    iptables -P INPUT ACCEPT; iptables -A INPUT -s 10.0.0.50 -p icmp -j DROP
    security/prove.sh >/run/proof && exit 1
    grep "redis-cache -> host icmp: must pass by ping; it was lost" /run/proof
  '
  succeeds
}
