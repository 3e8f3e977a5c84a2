# shellcheck shell=bash
# For the shells of a sandbox and of an exercise, where you are root already and the pages write `sudo`: it may not be
# installed, and the real one refuses to run in a user namespace. This one only sets variables and runs the command.

sudo() {
  while [[ ${1:-} == -* ]]; do shift; done
  env "$@"
}
