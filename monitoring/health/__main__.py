"""Watch the shop and every service: up, degraded (and why) or down; latency and uptime.

    python -m monitoring.health [--once] [--json] [--every SECONDS] [--rounds N] [--csv FILE] [--report FOLDER]

Shows a table that is updated in place on a terminal, else prints a line for each service and round. --once checks once,
and exits with 1 unless the shop is open and every service is up and not degraded. --json prints a line of JSON for each
round, --csv adds each check to a file, and --report makes health_report.pdf from that file at the end.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TextIO

from rich.live import Live
from rich.table import Table
from rich.text import Text

from lab.csv_files import CsvError, Writer, open_to_append
from lab.messages import DIAGNOSE, print_line, print_message
from lab.terminal import Console
from lab.topology import TopologyError, load
from monitoring.health.checks import DEGRADED, DOWN, SHOP, UP, Check, Target, check_all, targets
from monitoring.health.history import COLUMNS, History, add_checks, row_of, when
from monitoring.quantiles import quantile

_EVERY_SECONDS, _HOUR = 10.0, 3600
_STYLES = {UP: "green", DEGRADED: "yellow", DOWN: "bold red"}
_WORDS = {UP: "OPEN", DEGRADED: "OPEN", DOWN: "CLOSED"}  # words for the shop's state


def watch(options: argparse.Namespace, wanted: Sequence[Target], log: TextIO | None) -> bool:
    """Check until the last round or Ctrl+C; return whether everything was up in the last round."""
    console, histories = Console(), dict[str, History]()
    healthy = True
    with ExitStack() as stack:
        in_place = console.is_terminal and not options.json
        live = stack.enter_context(Live(console=console, auto_refresh=False)) if in_place else None
        stack.enter_context(suppress(KeyboardInterrupt))
        for round_number in itertools.count(1):
            begin = time.monotonic()
            checks = check_all(wanted)
            healthy = _is_healthy(checks)
            add_checks(histories, checks)
            if log:
                Writer(log).rows(row_of(check) for check in checks)
                log.flush()
            if live:
                live.update(_table(histories), refresh=True)
            else:
                _print(checks, as_json=options.json)
                if not healthy and not options.json:
                    print_line(f"{'':10}{DIAGNOSE}")
            if round_number == (1 if options.once else options.rounds):
                break
            time.sleep(max(options.every - (time.monotonic() - begin), 0))
    return healthy


def _print(checks: Sequence[Check], *, as_json: bool) -> None:
    lines = [json.dumps(_round(checks))] if as_json else map(_line, checks)
    for line in lines:
        print_line(line)


def _table(histories: Mapping[str, History]) -> Table:
    table = Table(title_justify="left")
    for heading in ("service", "", "ms", "p50", "p95", "uptime", "latency"):
        table.add_column(heading, overflow="fold")
    for node, history in histories.items():
        last = history.checks[-1]
        state = Text(f"{_word(last)} {last.why}".strip(), _STYLES[last.state])
        shown = (
            last.milliseconds if last.up else None,
            quantile(history.latencies, 0.5),
            quantile(history.latencies, 0.95),
        )
        numbers = ("-" if value is None else f"{value:,.1f}" for value in shown)
        table.add_row(node, state, *numbers, f"{100 * history.uptime:.1f} %", history.sparkline())
    if not _is_healthy([history.checks[-1] for history in histories.values()]):
        table.caption = DIAGNOSE
    return table


def _is_healthy(checks: Sequence[Check]) -> bool:
    return all(check.state == UP for check in checks)


def _word(check: Check) -> str:
    return _WORDS[check.state] if check.node == SHOP else check.state.upper()


def _line(check: Check) -> str:
    return f"{when(check.time)}  {_word(check):<8}  {check.node:<18} {check.milliseconds:8.1f} ms  {check.why}".rstrip()


def _round(checks: Sequence[Check]) -> dict[str, object]:
    shop = next((_fields(check) for check in checks if check.node == SHOP), None)
    services = [{"service": check.node, **_fields(check)} for check in checks if check.node != SHOP]
    now = when(time.time())  # noqa: TID251  shown to people
    return {"time": now, "healthy": _is_healthy(checks), "shop": shop, "services": services}


def _fields(check: Check) -> dict[str, object]:
    return {
        "state": check.state, "up": check.up, "latency_ms": round(check.milliseconds, 3), "why": check.why or None,
    }  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return 0 done (with --once: all is up), 1 not all is up, or an error, 2 bad usage."""
    options = _options(arguments)
    try:
        wanted = targets(load(options.topology))
        with ExitStack() as stack:
            log = stack.enter_context(open_to_append(options.csv, COLUMNS)) if options.csv else None
            healthy = watch(options, wanted, log)
        if options.report:
            from monitoring.health.report import report  # noqa: PLC0415 - matplotlib takes a second to load

            written = f"report: {report(options.csv, options.report)}"
            print(written, file=sys.stderr if options.json else sys.stdout)
    except BrokenPipeError:
        raise
    except (OSError, TopologyError, CsvError) as error:
        print_message("health", error)
        return 1
    return 0 if healthy or not options.once else 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m monitoring.health", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--once", action="store_true", help="check once; exit with 1 unless all is up")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each round")
    parser.add_argument("--every", type=float, default=_EVERY_SECONDS, metavar="SECONDS", help="default 10")
    parser.add_argument("--rounds", type=int, default=0, metavar="N", help="end after N rounds; 0: no end")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="append each check to FILE")
    parser.add_argument(
        "--report", type=Path, metavar="FOLDER", help="write health_report.pdf there; needs --csv"
    )
    parser.add_argument("--topology", default="", metavar="TABLE")
    options = parser.parse_args(arguments)
    if options.report and not options.csv:
        parser.error("--report needs --csv")
    if not 0 < options.every <= _HOUR:
        parser.error(f"--every: {options.every} is not from 0 to {_HOUR} seconds")
    if options.rounds < 0:
        parser.error(f"--rounds: {options.rounds} is not a number of rounds: 1 or more, or 0 for no end")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
