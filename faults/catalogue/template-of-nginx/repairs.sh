# shellcheck shell=bash disable=SC2154 # variables of targets.py

right_bring_the_template_back() {
  remove_copy nginx
  supervised restart "$NODE"
}
right_correct_the_directive() {
  sed -i 's/proxy_pas /proxy_pass /' services/nginx/nginx.conf.in
  supervised restart "$NODE"
}

wrong_restart_it() { supervised restart "$NODE"; }
# It starts, answers its own check, and sends nothing to the gateway.
wrong_delete_the_line() {
  sed -i '/proxy_pas /d' services/nginx/nginx.conf.in
  supervised restart "$NODE"
}
