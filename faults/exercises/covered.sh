#!/usr/bin/env bash
# Stands in for scripts/diagnose.sh during an exercise.
[[ ${1:-} != causes ]] || exit 0 # make status
why="it names the cause of this exercise, so it works only after you have solved it or typed give-up"
[[ " $* " != *" --json "* ]] || echo "{\"covered\": \"$why\"}" # the dashboard
echo "diagnose: $why" >&2
exit 1
