"""The tables of the panel: of the chosen service, or of the traffic between the two chosen ends of a flow."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import permutations

from lab.conntrack import connections
from lab.escape import on_one_line, shortened
from lab.log_lines import Line as LogLine
from lab.log_lines import read_lines
from lab.ruleset.iptables import Rule, parse
from lab.table import TableError
from lab.topology import Node, bracketed
from monitoring.connections.tracker import Translation, count_pairs, find_translations
from monitoring.dashboard.model import Model, Place, Scene
from monitoring.dashboard.watchers import Drop
from monitoring.gateway_log import LOGS
from monitoring.health.checks import UP
from monitoring.live import run
from monitoring.names import Names
from monitoring.policy_drawing import packets_of
from security.diagnose.sockets import SS, Listening, parse_listening
from security.policy.drops import drop_chain
from security.policy.model import Line
from security.policy.table import load as load_policy
from security.policy.table import policy_path

_MAX_CONNECTIONS, _MAX_DROPS, _MAX_LOG_LINES = 12, 12, 12
_LOG_BYTES, _MAX_MESSAGE = 1 << 16, 300  # read this much of a log's end; longest message
_ANSWERED_CHECK = re.compile(r"GET /(?:health|ready) 200 ")
WANTED, MISSING, SURPLUS = "as the table wants", "MISSING", "surplus"


@dataclass(frozen=True)
class Rows:
    """A small table; the page shows `empty` instead of a table without rows."""

    title: str
    headings: Sequence[str]
    cells: Sequence[Sequence[str]]
    empty: str = "none"


def overview(model: Model, scene: Scene) -> Rows:
    """Return the state of each place: what the map shows, as text."""
    cells = [
        (place.name, describe_state(place), uptime(model, place.name), f"{place.packets_per_second:.1f}")
        for place in scene.places
    ]
    return Rows("", ("service", "state", "uptime", "packets/s"), cells)


def facts(model: Model, name: str) -> Rows:
    """Return the fixed facts of a place: address, namespace and program of a node."""
    node = model.topology.node(name)
    rows = {"host": "this machine", "world": "all addresses outside of the lab"}
    if not node:
        return Rows("", ("", ""), [("is", rows[name])])
    found = {
        "address": ", ".join(map(str, node.addresses)),
        "namespace": node.namespace,
        "runs": node.runs or "nothing",
    }
    return Rows("", ("", ""), list(found.items()))


def describe_state(place: Place) -> str:
    """Return a place's state of health as text."""
    if not place.check:
        return "not checked"
    if place.state == UP:
        return f"up, {place.check.milliseconds:.1f} ms"
    return f"{place.state}: {place.check.why}"


def uptime(model: Model, name: str) -> str:
    """Return the share of the kept checks that were answered; "" for a place that is not checked."""
    history = model.health.histories.get(name)
    return f"{100 * history.uptime:.1f}\u00a0%" if history and history.checks else ""


def rates(model: Model, pair: tuple[str, str], ranges: dict[str, int]) -> Rows:
    """Return the rates of a flow, a column for each range of seconds."""
    found = [model.rates(pair, seconds) for seconds in ranges.values()]
    named = zip(("packets/s", "bytes/s", "new connections/s"), zip(*found, strict=True), strict=True)
    cells = [(name, *(f"{rate:,.1f}" for rate in row)) for name, row in named]
    return Rows("", ("", *ranges), cells)


def sockets(node: Node) -> Rows:
    """Return the listening sockets of a node's namespace beside those that the table wants. Raises LiveError."""
    listed = parse_listening(run("nsenter", f"--net=/run/netns/{node.namespace}", *SS))
    return Rows("", ("socket", "program", "table"), list(compare_sockets(node, listed)), "nothing listens")


def compare_sockets(node: Node, listed: Sequence[Listening]) -> Iterable[tuple[str, str, str]]:
    """Yield each wanted port, then each other socket: the place, its program, whether the table wants it."""
    known = set()
    at = [bracketed(one.ip) for one in node.addresses]
    for wanted in node.listens:
        here = [
            one
            for one in listed
            if (one.port, one.protocol) == (wanted.port, wanted.protocol) and any(map(one.is_at, at))
        ]
        known.update(here)
        for one in here:
            yield f"{one.address}:{one.port}/{one.protocol}", _program(one), WANTED
        if not here:
            yield f"{node.address.ip}:{wanted}", "none", f"{MISSING}: the table wants it"
    for one in listed:
        if one not in known:
            place = f"{one.address}:{one.port}/{one.protocol}"
            yield place, _program(one), f"{SURPLUS}: the table does not want it"


def _program(socket: Listening) -> str:
    if not socket.pids:
        return "?"
    return f"{', '.join(socket.programs)} (pid {', '.join(map(str, sorted(socket.pids)))})"


def tracked(model: Model, names: set[str]) -> tuple[Rows, Rows]:
    """Return the connections of a place or of a flow, and their NAT (conntrack). Raises LiveError."""
    ours = [
        one
        for one in connections(run("conntrack", "-L", "-o", "extended").splitlines())
        if names <= {model.place_of(one.original.source), model.place_of(one.reply.source)}
    ]
    known = Names(model.topology)
    cells = [
        (source, destination, _with_port(protocol, port), state, str(count))
        for (source, destination, protocol, port, state), count in count_pairs(ours, known).most_common()
    ]
    translated = Counter(map(without_client_port, find_translations(ours, known)))
    nat = [(*words, str(count)) for words, count in translated.most_common()]
    return (
        Rows("", ("from", "to", "port", "state", "count"), cells[:_MAX_CONNECTIONS], "none now"),
        Rows("", ("kind", "sent", "answered by", "count"), nat[:_MAX_CONNECTIONS], "none now"),
    )


def _with_port(protocol: str, port: int) -> str:
    if protocol.isdigit():  # one that conntrack has no name for, such as that of the proof's probes
        return f"IP protocol {protocol}"
    return f"{protocol}/{port}" if port else protocol


def without_client_port(translation: Translation) -> tuple[str, str, str]:
    """Return a translation's kind and directions without the client's port, which differs in each connection."""
    sent = re.sub(r":\d+ \u2192", " \u2192", translation.sent)
    return translation.kind, sent, re.sub(r":\d+$", "", translation.answered)


def log_lines(name: str) -> list[LogLine]:
    """Return the last lines of a node's log, the newest first, as `make logs` reads them. Raises OSError.

    Answered health checks are left out: the dashboard's own would fill the list.
    """
    with (LOGS / f"{name}.log").open("rb") as log:
        size = log.seek(0, 2)
        log.seek(max(size - _LOG_BYTES, 0))
        text = log.read().decode("utf-8", "replace")
    whole = text if size <= _LOG_BYTES else text.partition("\n")[2]
    lines = [line for line in read_lines(whole.splitlines()) if not _ANSWERED_CHECK.match(line.message)]
    return lines[: -_MAX_LOG_LINES - 1 : -1]


def logged(lines: Sequence[LogLine]) -> Rows:
    """Return log lines as a table: time, level, message."""
    cells = [
        (line.time[:12] or "-", line.level or "-", shortened(on_one_line(line.message), _MAX_MESSAGE))
        for line in lines
    ]
    return Rows("", ("time", "level", "message"), cells, "the log is empty")


def drops_between(scene: Scene, names: set[str]) -> Rows:
    """Return the table of the latest drops of a place or of a flow."""
    return drop_rows(drop for drop in scene.drops if names <= {drop.source, drop.destination})


def drop_rows(drops: Iterable[Drop]) -> Rows:
    """Return the table of the latest drops."""
    cells = [
        (
            datetime.fromtimestamp(drop.time).strftime("%H:%M:%S"),
            drop.policy_id,
            f"{drop.source or '?'} \u2192 {drop.destination or '?'}",
            drop.what,
        )
        for drop in drops
    ][:_MAX_DROPS]
    headings = ("time", "policy line", "from \u2192 to", "what")
    return Rows("", headings, cells, "Nothing was dropped in this time.")


def policy_lines(model: Model, names: Sequence[str]) -> Rows:
    """Return the lines of the policy about a place or a flow, with what each has counted. Raises LiveError."""
    policy = None
    with suppress(TableError, OSError):
        policy = load_policy(model.topology) if policy_path(model.topology) else None
    if policy is None:
        return Rows("", (), (), "no policy: all traffic between nodes is allowed")

    def is_about_them(line: Line) -> bool:
        if len(names) == 1:
            return names[0] in line.sources | line.destinations
        return any(one in line.sources and other in line.destinations for one, other in permutations(names))

    lines = [line for line in policy.lines if is_about_them(line)]
    tools = ("iptables", "ip6tables") if model.topology.has_ipv6 else ("iptables",)
    counts = count_by_line(rule for tool in tools for rule in parse(run(f"{tool}-save", "-c")).rules)
    cells = [(line.id, line.verdict, packets_of(line), f"{counts[line.id]:,}", line.reason) for line in lines]
    return Rows("", ("line", "verdict", "what", "packets", "reason"), cells)


def count_by_line(rules: Iterable[Rule]) -> Counter[str]:
    """Sum the packets that the rules of each policy line matched: of an allowed connection, only its first."""
    counts: Counter[str] = Counter()
    for rule in rules:
        if rule.comment.startswith("cnet: ") and not rule.chain.startswith(drop_chain("")):
            counts[rule.comment.removeprefix("cnet: ").partition(":")[0]] += rule.packets
    return counts
