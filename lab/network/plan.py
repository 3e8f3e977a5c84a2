"""Compute the difference between the table and the kernel, and the commands that remove it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from lab.network import facts as kinds
from lab.network.facts import HOST, Fact

_TOOLS = ("tc", "nsenter", "ip", "sysctl", "bridge")  # command order; `ip -n` comes last


class Difference(NamedTuple):
    """The facts that are missing, and those that are not wanted, each in the order in which things are made."""

    missing: list[Fact]
    surplus: list[Fact]


def difference(wanted: list[Fact], live: list[Fact]) -> Difference:
    """Compare the wanted facts with the live ones."""
    known_wanted, known_live = (
        {fact[:-1] for fact in facts} for facts in (wanted, live)
    )  # compare without the detail
    return Difference(
        [fact for fact in wanted if fact[:-1] not in known_live],
        [fact for fact in live if fact[:-1] not in known_wanted],
    )


def commands_to_make(missing: list[Fact]) -> list[str]:
    """Return the commands that make the missing facts."""
    marked = {fact.place for fact in missing if fact.kind is kinds.MARK}  # setting a mark also sets lo up
    return in_order(
        fact.format(command)
        for fact in missing
        if not (fact.kind is kinds.UP_INSIDE and fact.link == "lo" and fact.place in marked)
        for command in fact.kind.make
    )


def commands_to_remove(found: Difference) -> list[str]:
    """Return the commands that remove surplus facts; a fact that depends on a removed object needs none."""
    unmarked = {fact.place for fact in found.missing if fact.kind is kinds.MARK}
    places, links = _removed(found.surplus)
    commands = []
    for fact in found.surplus:
        if _is_removed_itself(fact) or not _depends_on(fact, places, links):
            commands += [fact.format(command) for command in fact.kind.remove]
        if fact.kind is kinds.VETH and fact.place in unmarked:
            # Without its veth pair, only the mark identifies the namespace as the lab's.
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
    """Sort commands and drop duplicates: first the host's by tool, then those of each namespace together."""
    unique = dict.fromkeys(commands)
    namespaces: dict[str, int] = {}

    def place(command: str) -> tuple[int, int]:
        tool, option, namespace, *_ = command.split(" ")
        if (tool, option) == ("ip", "-n"):
            return len(_TOOLS), namespaces.setdefault(namespace, len(namespaces))
        return _TOOLS.index(tool), 0

    return sorted(unique, key=place)
