# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_bring_the_code_back() {
  remove_copy "$PROGRAM"
  supervised restart "$NODE"
}
right_remove_the_import() {
  sed -i '/no_such_module/d' "services/$PROGRAM/app.py"
  supervised restart "$NODE"
}

wrong_restart_it() { supervised restart "$NODE"; }
# It still has nothing to import.
wrong_install_an_empty_module() { mkdir -p /run/cnet/no_such_module; }
