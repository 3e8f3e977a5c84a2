# shellcheck shell=bash disable=SC2154 # variables of targets.py
sql "ALTER SYSTEM SET default_transaction_read_only = on"
sql "SELECT pg_reload_conf()"
