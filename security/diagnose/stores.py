"""Findings in stores: a password that is refused, sessions used up, settings changed by hand, locks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from lab.topology import ROOT, Node
from security.diagnose.database import Database, own_role_settings
from security.diagnose.finding import Evidence, Finding, Kind
from security.diagnose.observed import Observed

_REFUSED = re.compile(r"refused the password|password authentication failed")
_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE"
_DATABASE = "postgres"  # the program


def check_stores(seen: Observed) -> Iterator[Finding]:
    """Yield the findings of all stores."""
    yield from _check_passwords(seen)
    states = seen.program_states
    nodes = [node for node in seen.topology.nodes_running(_DATABASE) if states.is_ready(node)]
    nodes = [node for node in nodes if not states.stopped_share(node)]
    with ThreadPoolExecutor() as pool:
        for node, database in zip(nodes, pool.map(seen.database, nodes), strict=True):
            if database:
                yield from _check_sessions(node, database)
                yield from _check_settings(node, database)


def _check_passwords(seen: Observed) -> Iterator[Finding]:
    for client in seen.topology.nodes:
        said = _refusal(seen, client)
        store = _store_of(seen, client) if said else None
        if not said or not store:
            continue
        wrong = client if seen.has_old_password(client) else store
        yield Finding(
            kind=Kind.WRONG_PASSWORD,
            object=store.name,
            place=wrong.name,
            cause=f"{store.name} refuses the password of {client.name}: "
            + (f"{client.name} has an old one" if wrong is client else f"{store.name} has another one"),
            breaks=f"{client.name} cannot use {store.name}",
            repair=(f"sudo scripts/services.sh restart {wrong.name}", "sudo make up"),
            evidence=(said,),
        )


def _refusal(seen: Observed, client: Node) -> Evidence | None:
    """Return what the client says of a refused password: in its answer to /ready, or in its log while it is not."""
    reply = seen.program_states.replies.get(client.name)
    path = seen.programs[client.runs].ready if client.runs else ""
    if reply is None or not path:
        return None
    ask = f"curl http://{client.host}:{client.listens[0].port}{path}"
    said = [Evidence(command=ask, line=f"{name}: {problem}") for name, problem in reply.degraded.items()]
    if reply.status and not seen.program_states.is_ready(client):
        said.append(Evidence(command=f"sudo make logs NODE={client.name}", line=seen.last_error(client)))
    return next((one for one in said if _REFUSED.search(one.line)), None)


def _store_of(seen: Observed, client: Node) -> Node | None:
    """Return the node of the store that shares a password with the client."""
    secrets = set(seen.programs[str(client.runs)].secrets)
    for node in seen.topology.nodes:
        if node.runs and node.runs != client.runs and secrets & set(seen.programs[node.runs].secrets):
            return node
    return None


def _check_sessions(node: Node, database: Database) -> Iterator[Finding]:
    full = database.full_for()
    if full:
        programs = [session.program for session in database.sessions]
        most = max(set(programs), key=programs.count)
        end = f"application_name = '{most}'"
        yield Finding(
            kind=Kind.CONNECTIONS_EXHAUSTED,
            object=node.name,
            place=node.name,
            cause=f"{node.name} has no connection left for {full};"
            f" {programs.count(most)} belong to {most or 'a program without a name'}",
            breaks="every new connection of the database's clients is refused",
            repair=(
                _sql(node, f"{_TERMINATE} {end}"),
                f"end {most or 'the program that holds them'}",
            ),
            evidence=(
                Evidence(
                    command=_sql(node, "SELECT application_name, count(*) FROM pg_stat_activity GROUP BY 1"),
                    line=f"{most}|{programs.count(most)}",
                ),
            ),
        )
    for session in database.blockers():
        yield Finding(
            kind=Kind.LOCK_HELD,
            object=node.name,
            place=node.name,
            cause=f"{node.name}: session {session.pid} ({session.program or session.user}) holds a lock that others"
            f" wait for: {session.query}",
            breaks="statements on the locked table wait until they are cancelled",
            repair=(_sql(node, f"SELECT pg_terminate_backend({session.pid})"),),
            evidence=(
                Evidence(
                    command=_sql(node, "SELECT pid, pg_blocking_pids(pid), query FROM pg_stat_activity"),
                    line=f"{session.pid}|{session.query}",
                ),
            ),
        )


def _check_settings(node: Node, database: Database) -> Iterator[Finding]:
    """Yield what ALTER SYSTEM, ALTER DATABASE or ALTER ROLE changed, other than the lab's own."""
    own = own_role_settings((ROOT / "services" / _DATABASE / "start.sh").read_text(encoding="utf-8"))
    for change in database.changes:
        if change.where.startswith("ROLE ") and change.name in own:
            continue
        yield Finding(
            kind=Kind.DATABASE_SETTING,
            object=change.name,
            place=node.name,
            cause=f"{node.name}: ALTER {change.where} set {change.name} to {change.value}",
            breaks="what the setting forbids or limits, for every new session",
            repair=(
                _sql(node, f"ALTER {change.where} RESET {change.name}"),
                _sql(node, "SELECT pg_reload_conf()"),
            ),
            evidence=(Evidence(command=_sql(node, f"SHOW {change.name}"), line=change.value),),
        )


def _sql(node: Node, statement: str) -> str:
    port = node.listens[0].port
    return f'sudo scripts/contain.sh exec {node.name} psql -h /state -p {port} -d orders -c "{statement}"'
