# shellcheck shell=bash disable=SC2154 # variables of targets.py
sql "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'orders'"
scripts/contain.sh exec "$NODE" /venv/bin/python -c "
import time, psycopg2
place = dict(host='/state', port=$LISTENS, dbname='orders', user='postgres', application_name='report')
held = [psycopg2.connect(**place) for _ in range(47)]
time.sleep(100000)" </dev/null >/dev/null 2>&1 &
echo "$!" >/run/cnet/report.pid
until [[ $(sql "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'report'") == 47 ]]; do sleep 0.2; done
sql "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'orders'"
