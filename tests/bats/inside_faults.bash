# shellcheck shell=bash
# What the test of the fault table uses inside its sandbox, beside inside.bash.

# A program's folder in a copy that only this sandbox sees, to break it.
private_copy() { # PROGRAM
  cp -a "services/$1" "/run/$1"
  mount --bind "/run/$1" "services/$1"
}
break_nginx() {
  private_copy nginx
  sed -i 's/proxy_pass /proxy_pas /' services/nginx/nginx.conf.in
  supervised restart nginx-lb
}
mend_nginx() { umount services/nginx; }
break_gateway() {
  private_copy api-gateway
  sed -i '1a import no_such_module' services/api-gateway/app.py
  supervised restart api-gateway
}
mend_gateway() { umount services/api-gateway; }
supervised() { .venv/bin/supervisorctl -c /run/cnet/supervisord.conf "$@" || :; }

redis_password() { # and whoever is connected has to log in again
  local password
  password=$(sed -n 's/^REDIS_OPERATOR_PASSWORD=//p' /var/opt/cnet/secrets)
  printf '%s\n' 'ACL SETUSER default resetpass >wrong' 'CLIENT KILL TYPE normal SKIPME yes' |
    redis-cli -h 10.0.0.50 --no-auth-warning --user operator --pass "$password"
}
postgres_password() {
  sql "ALTER ROLE orders PASSWORD 'wrong'"
  sql "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'orders'"
}
sql() { scripts/contain.sh exec postgres-db psql -XAt -h /state -p 5432 -d orders -c "$1"; }
fill_disk() { dd if=/dev/zero of=/var/opt/full bs=1M 2>/dev/null || :; } # a small one: see the test
empty_disk() { rm /var/opt/full; }

says_status() { # PATTERN: status says so, and is not content
  local status=0
  scripts/lab.sh status >/run/status 2>&1 || status=$?
  [[ $status != 0 ]] && grep -E -- "$1" /run/status >/dev/null
}
is_well() { scripts/lab.sh status >/run/status 2>&1; }

cure() { # HOW
  case $1 in
    up) converge ;;
    named)
      # What `up` says before it changes anything; the rest of it is left out by DRY_RUN.
      DRY_RUN=1 scripts/lab.sh up >/run/up 2>&1 || :
      sed -nE '/^foreign/s/.*: sudo //p' /run/status >/run/commands
      while read -r command; do grep -F -- "$command" /run/up >/dev/null || { echo "up does not name: $command" && return 1; }; done </run/commands
      bash -ex /run/commands && converge
      ;;
    *) "$1" && converge ;;
  esac
}

fault() { # NUMBER BREAK STATUS CURE
  local begun=$SECONDS
  eval "$2" >/run/broken 2>&1 || { echo "$1: could not be broken: $(</run/broken)" && return 1; }
  retry 15 says_status "$3" || { echo "$1: status does not name it ($3):" && sed -n '/^services/,$p' /run/status && return 1; }
  cure "$4" >/run/cured 2>&1 || { echo "$1: not cured by $4:" && tail -n 20 /run/cured && return 1; }
  retry 15 is_well || { echo "$1: not well after $4:" && sed -n '/^services/,$p' /run/status && return 1; }
  echo "ok $1 ($((SECONDS - begun)) s)"
}

faults() { # a line for each that is not as the table says
  local number break named cure failed=0
  while IFS=$'\t' read -r number break named cure <&8; do
    [[ $number == [0-9]* ]] || continue
    [[ -z ${ONLY:-} || " $ONLY " == *" $number "* ]] || continue
    fault "$number" "$break" "$named" "$cure" || {
      failed=1
      heal_by_force
    }
  done 8<tests/bats/faults.tsv
  return "$failed"
}
heal_by_force() { # so that one fault does not hide the next
  umount services/nginx services/api-gateway 2>/dev/null || :
  rm -f /var/opt/full
  scripts/lab.sh status 2>&1 | sed -nE '/^foreign/s/.*: sudo //p' | bash || :
  { scripts/lab.sh down && converge; } >/run/forced 2>&1 || { cat /run/forced && exit 1; }
}
