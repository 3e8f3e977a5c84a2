#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# The whole lab with both families, and with IPv6 alone.

load helpers

# up proves the policy and verifies the services. Then the lab has no finding, can be scaled, and leaves nothing.
LAB='
host_state >/run/before
scripts/lab.sh up
unset TOPOLOGY POLICY # the running table from here on
scripts/lab.sh status >/run/status || { cat /run/status; exit 1; }
scripts/diagnose.sh --json >/run/findings || { cat /run/findings; exit 1; }
scripts/report.sh health --once
scripts/scale.sh product-service 4 >/run/scaled || { cat /run/scaled; exit 1; }
scripts/verify.sh services >/run/verified || { cat /run/verified; exit 1; }
grep "ok    product-4 GET /health" /run/verified
scripts/lab.sh down
retry 5 pristine /run/before
'

@test "a lab of both families comes up, is proven in both, has no finding, is scaled, and leaves nothing" {
  forwards_by_interface
  TOPOLOGY=dual sandboxed "$LAB"
  succeeds
  says "81 of 81 pings answered in IPv6"
  says "Each service answers in IPv6, too: 9 checks"
  says "differences: 0"
  says "The lab is up: the shop is at http://localhost:8080/"
}

@test "a lab with IPv6 alone comes up, is proven, has no finding, is scaled, and leaves nothing" {
  forwards_by_interface
  ipv6_table >"$BATS_TEST_TMPDIR/six.tsv"
  TOPOLOGY=$BATS_TEST_TMPDIR/six.tsv POLICY=flat sandboxed "$LAB"
  succeeds
  says "The way in: published ports of nginx-lb in IPv6: 3 checks"
  says "differences: 0"
  says "The lab is up: the shop is at http://[fd00:cafe::1]:8080/"
}
