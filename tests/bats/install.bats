#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# What is installed, how, and what is said where something is missing.

load helpers

# A machine where apt-get only says what it was asked, and what policy held while it ran.
FAKE_APT='mkdir /run/bin /run/upper /run/work
mount -t overlay overlay -o lowerdir=/usr/sbin,upperdir=/run/upper,workdir=/run/work /usr/sbin 2>/dev/null || exit 77
printf "#!/bin/sh\necho \"\$*\" >>/run/asked\nsh /usr/sbin/policy-rc.d nginx start; echo \"policy \$?\" >>/run/asked\n" >/run/bin/apt-get
chmod +x /run/bin/apt-get
'

without_overlay() { ((status != 77)) || skip_by_kernel 'no overlay file system'; }

@test "a missing package is installed, and while it is no server may start" {
  sandboxed "$FAKE_APT"'
    rm -f /usr/sbin/policy-rc.d; rm /usr/sbin/conntrack
    PATH="/run/bin:$PATH" scripts/install.sh up
    cat /run/asked
    grep -- "install .*conntrack" /run/asked
    grep -x "policy 101" /run/asked
    [[ ! -e /usr/sbin/policy-rc.d ]]
  '
  without_overlay
  succeeds
}

@test "a policy that was there before is put back" {
  sandboxed "$FAKE_APT"'
    printf "#!/bin/sh\nexit 42\n" >/usr/sbin/policy-rc.d; rm /usr/sbin/conntrack
    PATH="/run/bin:$PATH" scripts/install.sh up
    grep -x "policy 101" /run/asked
    status=0; sh /usr/sbin/policy-rc.d || status=$?
    [[ $status == 42 && ! -e /usr/sbin/policy-rc.d.before-cnet ]]
  '
  without_overlay
  succeeds
}

@test "the policy of an installation that was killed is taken away, and the one before it put back" {
  sandboxed "$FAKE_APT"'
    printf "kill -9 \$PPID\n" >>/run/bin/apt-get; policy=/usr/sbin/policy-rc.d
    killed() { PATH="/run/bin:$PATH" scripts/install.sh up &>/dev/null || :; grep "exit 101" "$policy"; }
    rm -f "$policy"; mv /usr/sbin/conntrack /run/; killed
    mv /run/conntrack /usr/sbin/; scripts/install.sh up; [[ ! -e $policy ]]
    printf "#!/bin/sh\nexit 42\n" >"$policy"; mv /usr/sbin/conntrack /run/; killed
    mv /run/conntrack /usr/sbin/; scripts/install.sh up
    grep "exit 42" "$policy"; [[ ! -e $policy.before-cnet ]]
  '
  without_overlay
  succeeds
}

@test "on a machine without apt-get the missing packages are named" {
  sandboxed '
    mkdir /run/bin
    ln -sf /usr/bin/* /usr/sbin/* /run/bin/; rm /run/bin/{apt-get,jq,fping}
    mount --bind /run/bin /usr/sbin
    fails_with 1 "missing packages (Debian" env PATH=/run/bin scripts/install.sh up
    said=$(PATH=/run/bin scripts/install.sh status) || :
    [[ $said == *fping*jq* ]]
  '
  succeeds
}

@test "a script whose tool is missing says so, and how to get it, before anything changes" {
  sandboxed '
    mkdir /run/bin
    host_state >/run/before
    cp -a /usr/sbin/. /run/bin/; ln -sf /usr/bin/* /run/bin/; rm /run/bin/bridge
    mount --bind /run/bin /usr/sbin
    fails_with 1 "missing: bridge; sudo scripts/install.sh up" env PATH=/run/bin scripts/network.sh up
    umount /usr/sbin
    pristine /run/before
  '
  succeeds
}

@test "a second run has nothing to do" {
  sandboxed '[[ -z $(scripts/install.sh up 2>&1) ]]'
  succeeds
}

@test "without root each script that changes something says so, and how" {
  for script in network nat services lab; do
    sandboxed 'fails_with 1 "needs root: sudo" setpriv --reuid 65534 --clear-groups scripts/'"$script"'.sh down'
    succeeds
  done
}

@test "an unknown command exits with 2 and shows the usage, for every script" {
  for script in scripts/{network,nat,services,lab,verify,install,sandbox,doctor,report,topology,contain} \
    security/{policy,mutants} monitoring/{capture,monitor,dashboard,exporter} bench/analysis/run; do
    run "$ROOT/$script.sh" nonsense
    ((status == 2))
    says "$script.sh"
    run "$ROOT/$script.sh" help
    ((status == 0))
  done
}

@test "a test that is skipped for want of a tool fails the run; one that the kernel or Docker cannot have does not" {
  cd "$BATS_TEST_TMPDIR"
  skips() { # REASON: a file of bats and one of Python that skip for it
    printf '@test "one" { skip "%s"; }\n' "$1" >one.bats
    printf 'import pytest\n\ndef test_one():\n    pytest.skip("%s")\n' "$1" >test_one.py
  }
  for reason in 'kernel: no overlay' 'Docker: no engine answers'; do
    skips "$reason"
    for file in one.bats test_one.py; do "$ROOT/tests/run.sh" file "$PWD/$file"; done
  done
  for reason in 'there is no Chromium' 'kernels: none' ''; do
    skips "$reason"
    for file in one.bats test_one.py; do
      run -1 "$ROOT/tests/run.sh" file "$PWD/$file"
      says "skipped for a reason that is neither the kernel nor Docker"
    done
  done
}

@test "what the tests need and this machine does not have yet is installed: Chromium, tshark, Prometheus" {
  sandboxed '
    mkdir /run/bin /run/upper /run/work
    mount -t overlay overlay -o lowerdir=/usr/bin,upperdir=/run/upper,workdir=/run/work /usr/bin 2>/dev/null || exit 77
    rm -f /usr/bin/{chromium,chromium-browser,google-chrome,tshark,promtool}
    printf "#!/bin/sh\necho \"\$*\" >>/run/asked\n" >/run/bin/apt-get
    printf "#!/bin/sh\necho \"  Candidate: 1.0\"; seq 20000\n" >/run/bin/apt-cache # more than a pipe holds
    chmod +x /run/bin/*
    PATH="/run/bin:$PATH" scripts/install.sh dev
    grep "install .*chromium prometheus tshark" /run/asked
  '
  without_overlay
  succeeds
}

@test "make is completed: targets, their variables, the names of nodes, namespaces, programs and exercises" {
  export XDG_DATA_HOME=$BATS_TEST_TMPDIR
  make -C "$ROOT" install-completion
  # shellcheck source=/dev/null
  source "$XDG_DATA_HOME/bash-completion/completions/make"
  completed() { # LINE WORD...
    local COMP_LINE=$1 COMP_POINT=${#1} COMPREPLY=()
    _cnet_make || :
    [[ ${COMPREPLY[*]} == "${*:2}" ]] || { echo "$1: ${COMPREPLY[*]}" && return 1; }
  }
  cd "$ROOT"
  completed 'make dia' diagnose
  completed 'sudo make explain ' FROM= OPTIONS= PORT= TO=
  completed 'sudo make explain FROM=redis-cache TO=ho' host
  completed 'make logs NODE=product-' product-1 product-2 product-3
  completed 'make shell NS=product' product-service product2 product3
  completed 'make scale PROGRAM=pr' product-service
  completed 'make exercise NAME=a-node-cannot-reach-o' a-node-cannot-reach-one-other-node
  completed 'make exercise TOPOLOGY=t' tiers
  cd /
  _comp_cmd_make() { return 1; } # bash-completion's own finds nothing
  completed 'make dia'
  echo 'complete -F mine make' >"$XDG_DATA_HOME/bash-completion/completions/make"
  run -2 make -C "$ROOT" install-completion
  says "is not the lab's; instead, add to ~/.bashrc: source"
}
