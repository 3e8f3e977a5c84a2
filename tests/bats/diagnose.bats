#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# `make diagnose`: nothing to find in a healthy lab, its exit codes and JSON, and the commands that point to it.

load helpers

setup_file() { share_lab; }

LINE='to find the cause: sudo make diagnose' # the same words everywhere
NO_FINDINGS='
  no_findings() { scripts/diagnose.sh run --json >/run/found || { jq -r ".findings[].cause" /run/found && return 1; }; }
'

@test "a healthy lab has no findings, within five seconds; status, doctor and health are content" {
  in_lab "$NO_FINDINGS"'
    no_findings
    jq -e ".seconds < 5" /run/found
    scripts/diagnose.sh run | grep -E "^no findings \([0-9.]+ s\)$"
    scripts/lab.sh status >/run/status; refute grep -E "^cause|diagnose" /run/status
    scripts/doctor.sh check running | grep "^ok *running"
    scripts/report.sh health --once >/run/health; refute grep diagnose /run/health
  '
  succeeds
}

@test "a lab without services, without a policy or only a network has no findings" {
  sandboxed "$NO_FINDINGS"'
    scripts/network.sh up &>/run/log; scripts/nat.sh up &>/run/log; no_findings
    security/policy.sh up &>/run/log; no_findings
    scripts/services.sh up &>/run/log; security/policy.sh down &>/run/log; no_findings
  '
  succeeds
}

@test "the lab in two tiers has no findings, and neither has the flat one after it" {
  sandboxed "$NO_FINDINGS"'
    TOPOLOGY=tiers converge &>/run/log || { tail /run/log; exit 1; }
    no_findings
    scripts/lab.sh down &>/run/log
    TOPOLOGY=flat converge &>/run/log || { tail /run/log; exit 1; }
    no_findings
  '
  succeeds
}

@test "random healthy states have no findings: scaled, moved, under load, beside the rules of Docker and ufw" {
  run tests/lab/healthy_states.sh "${FULL:+50}${FULL:-6}" "${DAY:-1}"
  succeeds
  says " 0 failures"
}

@test "a finding has kind, object, place, a sentence, evidence and a repair; a repair ends it" {
  in_lab "$NO_FINDINGS"'
    ip link set veth-redis-br mtu 1300
    status=0; scripts/diagnose.sh run --json >/run/found || status=$?
    [[ $status == 1 ]]
    jq -e ".findings[0] | .kind == \"mtu\" and .object == \"veth-redis-br\" and .place == \"host\"" /run/found
    jq -e ".findings[] | [.cause, .breaks, .repair[], .evidence[][]] | all(length > 0)" /run/found
    jq -e ".findings[] | (.repair | length > 0) and (.evidence | length > 0)" /run/found
    scripts/diagnose.sh run >/run/text || :
    grep -E "^1\. .*1300" /run/text; grep -E "^ +repair +sudo " /run/text
    jq -r ".findings[].repair[]" /run/found | grep "^sudo " >/run/repair
    sed "s/^sudo //" /run/repair | bash -ex
    no_findings
  '
  succeeds
}

@test "without a lab, without root, with a word it does not know: one line, and its exit status" {
  sandboxed '
    fails_with 1 "the lab is not up: sudo make up" scripts/diagnose.sh run
    status=0; scripts/diagnose.sh run --nonsense 2>/run/said || status=$?
    [[ $status == 2 ]]; grep "unknown option: --nonsense" /run/said
    scripts/diagnose.sh help | grep "exit 1 if there are any"
    scripts/network.sh up &>/run/log
    fails_with 1 "needs root" setpriv --reuid 65534 --clear-groups scripts/diagnose.sh run
  '
  succeeds
}

@test "it changes nothing of the host" {
  in_lab '
    host_state | sed -E "$COUNTERS" >/run/before
    scripts/diagnose.sh run >/dev/null
    host_state | sed -E "$COUNTERS" >/run/after
    diff /run/before /run/after
  '
  succeeds
}

@test "status, verify, up, explain, health and doctor say the same line where something is wrong" {
  in_lab "LINE='$LINE'"'
    ip link set veth-redis-br down
    refute scripts/lab.sh status &>/run/said; grep -Fx "$LINE" /run/said
    refute scripts/verify.sh services &>/run/said; grep -F "$LINE" <(tail -n 1 /run/said)
    refute security/explain.sh product-1 redis-cache 6379 &>/run/said; grep -F "$LINE" /run/said
    refute scripts/report.sh health --once >/run/said; grep -F "$LINE" /run/said
    scripts/doctor.sh check running >/run/said
    grep "^note *running .*veth-redis-br" /run/said; grep "fix: sudo make diagnose" /run/said
    ip link set veth-redis-br up
    .venv/bin/supervisorctl -c /run/cnet/supervisord.conf stop postgres-db >/dev/null
    cp -a services/postgres /run/copy && mount --bind /run/copy services/postgres
    sed -i "2i exit 7" services/postgres/start.sh
    refute scripts/services.sh up &>/run/said; grep -F "$LINE" <(tail -n 1 /run/said)
    umount services/postgres
  '
  succeeds
}

# What no difference from a table shows: status runs diagnose when it is content otherwise.
@test "status and doctor are not content beside a foreign DROP, an MTU of 400 at either end, a foreign REDIRECT" {
  in_lab '
    says_status() { # PATTERN
      refute scripts/lab.sh status >/run/status 2>&1
      grep -E "$1" /run/status || { cat /run/status; exit 1; }
      scripts/doctor.sh check running | grep "^note *running"
    }
    iptables -I FORWARD 1 -s 10.0.0.20 -d 10.0.0.30 -j DROP
    says_status "^foreign .*-s 10.0.0.20/32 -d 10.0.0.30/32 -j DROP"; iptables -D FORWARD 1
    ip link set veth-api-br mtu 400; says_status "MTU 400 on veth-api-br"; scripts/network.sh up &>/run/log
    ip -n api-gateway link set veth-api mtu 400; says_status "MTU 400 on veth-api in namespace api-gateway"
    scripts/network.sh up &>/run/log
    iptables -t nat -I PREROUTING 1 -p tcp --dport 8080 -j REDIRECT --to-ports 3128
    says_status "^foreign .*PREROUTING.*REDIRECT"; iptables -t nat -D PREROUTING 1
    retry 10 scripts/lab.sh status >/dev/null
  '
  succeeds
}
