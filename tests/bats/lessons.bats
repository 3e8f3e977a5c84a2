#!/usr/bin/env bats
# shellcheck disable=SC2016 # the text between single quotes runs inside the sandbox
# Every command of the lessons (docs/*.md), typed on the state that the lesson starts from. tests/python/lessons.py
# compares; bench, docker, swarm and kubernetes name why they are not run.

load helpers

lessons_from() { # START
  sandboxed '
    mkdir /run/bin; printf "#!/bin/sh\nexec \"\$@\"\n" >/run/bin/sudo; chmod +x /run/bin/sudo # root needs none
    unset MAKELEVEL MAKEFLAGS MFLAGS # typed by hand, not called by make
    USER=root PATH="/run/bin:$PATH" .venv/bin/python tests/python/lessons.py "'"$1"'"
  '
  succeeds
}

@test "the lesson of phase 1 works as typed" {
  lessons_from 'sudo make down; sudo make network; sudo make services'
}

@test "the lessons on a lab that is up work as typed, and leave it as it was" {
  lessons_from 'sudo make up'
}

@test "the lesson on IPv6 works as typed" {
  forwards_by_interface
  lessons_from 'sudo make down; sudo make network TOPOLOGY=dual; sudo make services'
}

@test "the lesson on three tiers works as typed" {
  lessons_from 'sudo make isolation'
}
