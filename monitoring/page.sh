# shellcheck shell=bash
# Serve a page for this machine alone: the dashboard and the exporter. Sourced.

need_page() { # TOOL...
  need_root
  need_tools ss "$@"
  need_environment
  load_topology
  need_lab
}

check_port() { # PORT [ADVICE]
  local holder
  holder=$(ss -Hltnp "sport = :$1" | sed -n 's/.*users:((\("[^"]*",pid=[0-9]*\).*/\1/p; q')
  [[ -z $holder ]] || die "port $1 is taken by $holder; end it${2:-}"
}

serve() { # PORT MODULE OPTION...: run gunicorn with one worker, whose memory holds the dashboard's counts
  cd "$ROOT" || return
  exec "$VENV/bin/gunicorn" --bind "127.0.0.1:$1" --workers 1 --worker-class gthread --threads 8 --timeout 60 \
    --graceful-timeout 2 --no-control-socket "${@:3}" "$2:serve()" 9>&-
}
