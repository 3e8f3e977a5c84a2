"""Name the causes of what does not work; the manual is the header of scripts/diagnose.sh, which calls this."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from rich.text import Text

from lab.network.reading import ReadError
from lab.table import TableError
from lab.terminal import Console
from lab.topology import TopologyError, load
from security.diagnose.finding import Finding, ranked
from security.diagnose.foreign import check_foreign_rules
from security.diagnose.host import check_host
from security.diagnose.host_routes import check_host_routes
from security.diagnose.names import check_names
from security.diagnose.network import check_network
from security.diagnose.observed import Observed
from security.diagnose.own_rules import check_own_rules
from security.diagnose.services import check_services
from security.diagnose.tracked import check_tracked

Check = Callable[[Observed], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (
    check_network,
    check_host,
    check_host_routes,
    check_foreign_rules,
    check_own_rules,
    check_tracked,
)
WAITING_CHECKS: tuple[Check, ...] = (check_names, check_services)  # they mostly wait for answers


def diagnose(seen: Observed) -> list[Finding]:
    """Run all checks, and rank what they find."""
    with ThreadPoolExecutor(len(WAITING_CHECKS)) as pool:
        waiting = [pool.submit(_list, check, seen) for check in WAITING_CHECKS]
        found = [finding for check in CHECKS for finding in check(seen)]
        return ranked(found + [finding for result in waiting for finding in result.result()])


def _list(check: Check, seen: Observed) -> list[Finding]:
    return list(check(seen))


def show(findings: Sequence[Finding], seconds: float, console: Console) -> None:
    """Print the findings as text."""
    for number, finding in enumerate(findings, start=1):
        console.print(Text.assemble((f"{number}. ", "bold"), (finding.cause, "bold red")), soft_wrap=True)
        for evidence in finding.evidence:
            console.print(Text(f"   seen     {evidence.line}"), soft_wrap=True)
            console.print(Text(f"            {evidence.command}", "dim"), soft_wrap=True)
        console.print(Text(f"   breaks   {finding.breaks}"), soft_wrap=True)
        for command in finding.repair:
            console.print(Text.assemble("   repair   ", (command, "green")), soft_wrap=True)
    count = f"{len(findings)} finding{'' if len(findings) == 1 else 's'}" if findings else "no findings"
    console.print(Text(f"{count} ({seconds:.1f} s)", "bold"))


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return 1 if there is a finding."""
    begin = time.monotonic()
    try:
        with Console(stderr=True).status("comparing the lab with its tables, and sending probes"):
            findings = diagnose(Observed(load()))
    except (TopologyError, TableError, ReadError, OSError) as error:
        print(f"diagnose: {error}", file=sys.stderr)
        return 3
    seconds = time.monotonic() - begin
    if "--json" in arguments:
        document = {"findings": [finding.as_dict() for finding in findings], "seconds": round(seconds, 2)}
        print(json.dumps(document, indent=1))
    else:
        show(
            findings,
            seconds,
            Console(width=None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "200"))),
        )
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
