# shellcheck shell=bash disable=SC2154 # variables of targets.py
sql "ALTER ROLE orders PASSWORD 'another'"
sql "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'orders'"
