"""The difference between what the table wants and what is up, and the commands that make it go away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lab.network import facts as kinds
from lab.network.facts import HOST, Fact

_TOOLS = ("tc ", "nsenter ", "ip ", "sysctl ", "bridge ", "ip -n ")  # in this order; a longer prefix wins


@dataclass(frozen=True)
class Difference:
    """The facts that are missing, and those that are not wanted, each in the order in which things are made."""

    missing: list[Fact]
    surplus: list[Fact]


def difference(wanted: list[Fact], live: list[Fact]) -> Difference:
    """Compare what the table wants with what is up."""
    known_wanted, known_live = set(wanted), set(live)
    return Difference(
        [fact for fact in wanted if fact not in known_live],
        [fact for fact in live if fact not in known_wanted],
    )


def commands_to_make(missing: list[Fact]) -> list[str]:
    """Return the commands for what is missing."""
    marked = {fact.place for fact in missing if fact.kind is kinds.MARK}  # by a command that also sets lo up
    return in_order(
        fact.format(command)
        for fact in missing
        if not (fact.kind is kinds.UP_INSIDE and fact.link == "lo" and fact.place in marked)
        for command in fact.kind.make
    )


def commands_to_remove(found: Difference) -> list[str]:
    """Return the commands for what is surplus; what is removed takes along what depends on it."""
    unmarked = {fact.place for fact in found.missing if fact.kind is kinds.MARK}
    places, links = _removed(found.surplus)
    commands = []
    for fact in found.surplus:
        if _is_removed_itself(fact) or not _depends_on(fact, places, links):
            commands += [fact.format(command) for command in fact.kind.remove]
        if fact.kind is kinds.VETH and fact.place in unmarked:
            # Without its veth pair the namespace would not be known as the lab's.
            commands += [fact.format(command) for command in kinds.MARK.make]
    return in_order(commands)


def _is_removed_itself(fact: Fact) -> bool:
    return fact.kind in (kinds.BRIDGE, kinds.VETH, kinds.NAMESPACE, kinds.STALE)


def _removed(surplus: list[Fact]) -> tuple[set[str], set[tuple[str, str]]]:
    """Return the namespaces and the (place, link) pairs that are removed; a link "" means the namespace's own wire."""
    places = {fact.place for fact in surplus if fact.kind in (kinds.NAMESPACE, kinds.STALE)}
    links = {(HOST, fact.link) for fact in surplus if fact.kind is kinds.BRIDGE}
    for fact in surplus:
        if fact.kind is kinds.VETH:
            links |= {(fact.place, fact.link), (HOST, fact.peer), (fact.place, "")}
    return places, links


def _depends_on(fact: Fact, places: set[str], links: set[tuple[str, str]]) -> bool:
    if fact.place in places or (fact.link and (fact.place, fact.link) in links):
        return True
    return (HOST, fact.bridge) in links or (fact.kind is kinds.ROUTE and (fact.place, "") in links)


def in_order(commands: Iterable[str]) -> list[str]:
    """Sort commands as they are run: the host's by tool, then those of each namespace together; each once."""
    unique = list(dict.fromkeys(commands))
    namespaces: dict[str, int] = {}
    for command in unique:
        if command.startswith("ip -n "):
            namespaces.setdefault(command.split(" ")[2], len(namespaces))

    def place(command: str) -> tuple[int, int]:
        if command.startswith("ip -n "):
            return len(_TOOLS), namespaces[command.split(" ")[2]]
        return next(index for index, tool in enumerate(_TOOLS) if command.startswith(tool)), 0

    return sorted(unique, key=place)
