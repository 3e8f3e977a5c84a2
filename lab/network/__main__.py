"""Compare the network with the topology table, for scripts/network.sh, which runs the commands.

python3 -m lab.network plan      lines "remove COMMAND", then "make COMMAND"; before them "new" when nothing is up
python3 -m lab.network removal   "remove COMMAND" for all that is up, whichever table it came from
python3 -m lab.network status    print each difference; exit 1 if any
python3 -m lab.network check     print the first conflict with the host and exit 1, or print nothing
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
from collections.abc import Sequence

from lab import netlink
from lab.network import facts as kinds
from lab.network.conflicts import host_conflicts, table_conflicts
from lab.network.facts import Fact, wanted_facts
from lab.network.live import Live, read_live
from lab.network.plan import Difference, commands_to_make, commands_to_remove, difference
from lab.network.reading import ReadError, legacy_tables
from lab.topology import LINK_GROUP, OUTSIDE_NAMESPACE, Topology, TopologyError, load

_RUN_DIR = os.environ.get("RUN_DIR", "/run/cnet")


class ConflictError(Exception):
    """An object or setting of the host conflicts with the table."""


def main(arguments: Sequence[str]) -> int:
    """Run one command; return its exit status."""
    name = os.environ.get("SCRIPT", "network")
    try:
        match arguments:
            case ["plan"]:
                return print_plan(load())
            case ["removal"]:
                return print_removal()
            case ["status"]:
                return print_status(load())
            case ["check"]:
                topology = load()
                refuse_conflicts(topology, read_live(topology))
                return 0
    except (TopologyError, ReadError, ConflictError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    print(__doc__, end="", file=sys.stderr)
    return 2


def refuse_conflicts(topology: Topology, live: Live) -> None:
    """Raise ConflictError for the first conflict with the host."""
    for conflict in (*table_conflicts(topology), *host_conflicts(topology, live)):
        raise ConflictError(conflict)


def compare(topology: Topology, live: Live) -> Difference:
    """Compare the table with the kernel."""
    return difference(wanted_facts(topology, policy_is_wanted()), live.facts)


def policy_is_wanted() -> bool:
    """Decide whether a policy was loaded and not taken down since, even if its rules were deleted."""
    chain = "CNET-FROM-NODES"
    if os.path.exists(f"{_RUN_DIR}/before-up.policy") or netlink.has_chain(chain):
        return True
    return bool(legacy_tables()) and chain in _output("iptables-save")


def print_plan(topology: Topology) -> int:
    """Print the commands that make the network match the table."""
    live = read_live(topology)
    refuse_conflicts(topology, live)
    found = compare(topology, live)
    if not live.facts:
        print("new")
    _print_lines("remove", commands_to_remove(found))
    _print_lines("make", commands_to_make(found.missing))
    return 0


def print_removal() -> int:
    """Print the commands that remove the lab's network.

    Namespaces are deleted before links: if `down` is interrupted, the next run needs the links to find the namespaces.
    """
    live = read_live(None)
    _print_lines(
        "remove",
        [f"ip netns del {fact.place}" for fact in live.facts if fact.kind in (kinds.NAMESPACE, kinds.STALE)],
    )
    if any(link.get("group") == str(LINK_GROUP) for link in live.host.links):
        print(f"remove ip link del group {LINK_GROUP}")
    return 0


def _print_lines(word: str, commands: list[str]) -> None:
    for command in commands:
        print(word, command)


def print_status(topology: Topology) -> int:
    """Print each difference; return 1 if there is any."""
    live = read_live(topology)
    found = compare(topology, live)
    surplus = without_running_proof(found.surplus)
    lines = [_line("missing", in_words(fact)) for fact in found.missing]
    lines += [_line(fact.kind.label, in_words(fact)) for fact in surplus]
    lines += [_line("foreign", conflict) for conflict in host_conflicts(topology, live)]
    print(*(lines or [_line("network", f"{len(topology.nodes)} nodes match {topology.path}")]), sep="\n")
    return 1 if lines else 0


def _line(label: str, words: str) -> str:
    colour = {"network": "GREEN", "missing": "RED"}.get(label, "YELLOW")
    return f"{os.environ.get(colour, '')}{label}{os.environ.get('PLAIN', '')}  {words}"


def without_running_proof(surplus: list[Fact]) -> list[Fact]:
    """Skip the outside namespace of a running proof, which holds the lock."""
    others = [fact for fact in surplus if OUTSIDE_NAMESPACE not in (fact.place, fact.link, fact.peer)]
    if len(others) == len(surplus):
        return surplus
    try:
        with open(f"{_RUN_DIR}/lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return others
    except OSError:
        pass
    return surplus


def in_words(fact: Fact) -> str:
    """Describe a fact; list the rules of a firewall fact."""
    if fact.kind is kinds.CHAIN:
        shown = _output(
            "nsenter", f"--net=/run/netns/{fact.place}", "nft", "list", "chain", *fact.value.split(" ", 2)
        )
        text = re.sub(r"(?m)^(table|\t(chain|type|\})|\}).*\n?", "", shown)
        text = re.sub(r"counter packets [0-9]+ bytes [0-9]+ ", "", re.sub(r"(?m)^\t*", "", text))
    elif fact.kind is kinds.LEGACY_TABLE:
        shown = _output("nsenter", f"--net=/run/netns/{fact.place}", "iptables-legacy-save", "-t", fact.value)
        text = "\n".join(line for line in shown.splitlines() if line.startswith(("-A", "-N")))
    else:
        return str(fact)
    rules = "; ".join(text.strip("\n").split("\n"))
    return f"{fact}: {rules or 'cannot be listed: nft or iptables-legacy-save is missing'}"


def _output(*command: str) -> str:
    from lab.ruleset.host import output_of  # noqa: PLC0415 - seldom used, and slow to load

    return output_of(*command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
