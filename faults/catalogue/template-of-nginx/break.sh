# shellcheck shell=bash disable=SC2154 # variables of targets.py
private_copy nginx
sed -i 's/proxy_pass /proxy_pas /' services/nginx/nginx.conf.in
supervised restart "$NODE"
