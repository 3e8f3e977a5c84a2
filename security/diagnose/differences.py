"""The network's differences from its table: each check takes those that it explains, so none is reported twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from lab.network import facts as kinds
from lab.network.facts import Fact
from lab.network.plan import Difference, commands_to_make, commands_to_remove
from security.diagnose.finding import Evidence, Finding, Kind
from security.diagnose.observed import Observed

HOST = "host"
NOTHING = Difference([], [])
Condition = Callable[[Fact], bool]
# {family} is the option of `ip`, {six} the one that only IPv6 needs; {question} asks for a MAC, {cache} has the answer.
_OF_IPV4 = {
    "family": "-4",
    "six": "",
    "question": "ARP request",
    "a_question": "an ARP request",
    "cache": "ARP",
}
_OF_IPV6 = {
    "family": "-6",
    "six": "-6 ",
    "question": "neighbour solicitation",
    "a_question": "a neighbour solicitation",
    "cache": "neighbour",
}


class Differences:
    """The facts that are missing and those that are not wanted, without the ones that a check has taken."""

    def __init__(self, found: Difference) -> None:
        self.missing, self.surplus = list(found.missing), list(found.surplus)

    def take_missing(self, *of: kinds.Kind, where: Condition | None = None) -> list[Fact]:
        """Remove and return the missing facts of these kinds (none: of any) that meet the condition."""
        taken = [fact for fact in self.missing if _matches(fact, of, where)]
        self.missing = [fact for fact in self.missing if fact not in taken]
        return taken

    def take_surplus(self, *of: kinds.Kind, where: Condition | None = None) -> list[Fact]:
        """Remove and return the surplus facts of these kinds (none: of any) that meet the condition."""
        taken = [fact for fact in self.surplus if _matches(fact, of, where)]
        self.surplus = [fact for fact in self.surplus if fact not in taken]
        return taken


def _matches(fact: Fact, of: tuple[kinds.Kind, ...], where: Condition | None) -> bool:
    return (not of or fact.kind in of) and (where is None or where(fact))


def in_place(place: str) -> Condition:
    """Return the condition that a fact is about this namespace."""
    return lambda fact: fact.place == place


def of_family(like: Fact, condition: Condition) -> Condition:
    """Return the condition, for facts with an address of the same IP version as another fact."""
    return lambda fact: (":" in fact.value) == (":" in like.value) and condition(fact)


def about(*ends: tuple[str, str]) -> Condition:
    """Return the condition that a fact is about one of these interfaces, each (place, link)."""
    return lambda fact: (fact.place, fact.link) in ends


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a difference means.

    Texts have the variables of facts.py, {nodes}: the nodes at its end of the wire, and {at}: "on the host" or "in
    namespace NAMESPACE"; of an address or a route those of its family.
    """

    kind: Kind
    cause: str
    breaks: str
    command: str  # shows it; without sudo
    line: str  # the line of its output that shows it contains this
    object: str = "{link}"


def explain(seen: Observed, meaning: Meaning, fact: Fact, of: Difference, **words: str) -> Finding:
    """Return the finding of a fact. `of`: all differences of the same cause; `words`: further variables."""

    def fill_in(template: str) -> str:
        for name, word in (words | _words(seen, fact)).items():
            template = template.replace(f"{{{name}}}", word)
        return fact.format(template)

    return Finding(
        kind=meaning.kind,
        object=fill_in(meaning.object),
        place=fact.place or HOST,
        cause=fill_in(meaning.cause),
        breaks=fill_in(meaning.breaks),
        repair=repair_of(of),
        evidence=(evidence_of(seen, fill_in(meaning.command), fill_in(meaning.line)),),
    )


def explain_all(
    seen: Observed, left: Differences, meanings: Mapping[kinds.Kind, Meaning], *, missing: bool
) -> Iterator[Finding]:
    """Take the differences of the kinds that have a meaning, and yield the finding of each."""
    take = left.take_missing if missing else left.take_surplus
    for fact in take(*meanings):
        of = Difference([fact], []) if missing else Difference([], [fact])
        yield explain(seen, meanings[fact.kind], fact, of)


def without_ipv6(seen: Observed, fact: Fact, found: Finding) -> Finding:
    """Return the finding of a missing address; where IPv6 is switched off, with the command that switches it on."""
    key, enter = (
        f"net.ipv6.conf.{fact.link}.disable_ipv6",
        f"ip netns exec {fact.place} " if fact.place else "",
    )
    if ":" not in fact.value or seen.run("sysctl", "-n", key, namespace=fact.place).strip() != "1":
        return found
    return replace(
        found,
        cause=f"{found.cause}: IPv6 is switched off there (disable_ipv6 is 1)",
        repair=(f"sudo {enter}sysctl -w {key}=0", *found.repair),
    )


def repair_of(of: Difference) -> tuple[str, ...]:
    """Return the commands that remove these differences."""
    commands = [*commands_to_remove(of), *commands_to_make(of.missing)]
    return tuple(f"sudo {command}" for command in commands) or ("sudo make up",)


def _words(seen: Observed, fact: Fact) -> dict[str, str]:
    at = f"in namespace {fact.place}" if fact.place else "on the host"
    return {
        "nodes": nodes_at(seen, fact.place or fact.link),
        "at": at,
        **(_OF_IPV6 if ":" in fact.value else _OF_IPV4),
    }


def nodes_at(seen: Observed, name: str) -> str:
    """Return the names of the nodes in a namespace, or behind a port, or on a bridge."""
    names = [
        node.name
        for node in seen.topology.nodes
        if name in (node.namespace, node.bridge_interface, node.bridge)
    ]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names) or name


def evidence_of(seen: Observed, command: str, part: str) -> Evidence:
    """Run a command that only reads, and quote the first line of its output that contains the part."""
    lines = seen.run(*command.split()).splitlines()
    found = next((line.strip() for line in lines if part in line), f"(no line with {part})")
    return Evidence(command=f"sudo {command}", line=found)
