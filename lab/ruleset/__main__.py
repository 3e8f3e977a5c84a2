"""Compare the lab's rules that are wanted with the live ones, for bash.

    python3 -S -m lab.ruleset TOOLS CHAINS < WANTED

TOOLS is a list with commas of iptables, ip6tables and ebtables; CHAINS is a pattern of the lab's chains without CNET-;
WANTED holds lines "TOOL TABLE -A CHAIN ...". Prints assignments that bash evaluates: CHANGE, an array by tool of the
input of TOOL-restore --noflush; DIFFERENCES, readable lines; LIVE_RULES and WANTED_RULES, how many there are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from shlex import quote

from lab.ruleset.difference import CannotLoadError, canonical_rules, change, differences, own_rules
from lab.ruleset.host import outputs_of


def compare(saved: Mapping[str, str], chains: str, wanted: Iterable[str]) -> str:
    """Return the assignments; `saved` is the output of TOOL-save, by tool. Raises CannotLoadError."""
    lines = list(wanted)
    changes: list[str] = []
    messages: list[str] = []
    totals = {"LIVE_RULES": 0, "WANTED_RULES": 0}
    for tool, text in saved.items():
        of_tool = (line.removeprefix(f"{tool} ") for line in lines if line.startswith(f"{tool} "))
        desired, live = canonical_rules(of_tool, tool, chains), own_rules(text, chains)
        changes.append(f"[{tool}]={quote(change(desired, live, tool))}")
        messages += differences(desired, live, tool)
        totals["LIVE_RULES"] += live.count()
        totals["WANTED_RULES"] += desired.count()
    assignments = {"CHANGE": f"({' '.join(changes)})", "DIFFERENCES": quote("\n".join(messages)), **totals}
    return "\n".join(f"{name}={value}" for name, value in assignments.items())


def print_comparison(saved: Mapping[str, str], chains: str, wanted: Iterable[str]) -> int:
    """Print the assignments; return 1 if the kernel rejects the rules."""
    try:
        print(compare(saved, chains, wanted))
    except CannotLoadError as error:
        print(f"the kernel rejects the rules: {error}", file=sys.stderr)
        return 1
    return 0


def main(arguments: Sequence[str]) -> int:
    """Compare the rules of standard input."""
    names, chains = arguments
    tools = names.split(",")
    saved = dict(zip(tools, outputs_of(*((f"{tool}-save",) for tool in tools)), strict=True))
    return print_comparison(saved, chains, sys.stdin.read().splitlines())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
