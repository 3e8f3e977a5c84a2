"""Findings from the network's difference from its table. Each check takes the differences that it explains."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lab.network.facts import Fact
from lab.network.plan import Difference
from security.diagnose.addresses import check_addresses
from security.diagnose.bridges import check_bridges, check_ports
from security.diagnose.differences import HOST, Differences, repair_of
from security.diagnose.finding import Evidence, Finding, Kind
from security.diagnose.foreign import check_namespace_rules
from security.diagnose.links import check_links
from security.diagnose.observed import Observed
from security.diagnose.routes import check_routes

# In this order: a link that is down takes its routes with it, so check_links takes those before a check of routes.
CHECKS: tuple[Callable[[Observed, Differences], Iterator[Finding]], ...] = (
    check_bridges,
    check_links,
    check_addresses,
    check_ports,
    check_routes,
    check_namespace_rules,
)


def check_network(seen: Observed) -> Iterator[Finding]:
    """Yield a finding for each cause of a difference from the topology table."""
    left = Differences(seen.network)
    for check in CHECKS:
        yield from check(seen, left)
    for fact in left.missing:
        yield _unknown(fact, missing=True)
    for fact in left.surplus:
        yield _unknown(fact, missing=False)


def _unknown(fact: Fact, *, missing: bool) -> Finding:
    place = fact.place or HOST
    word = "missing" if missing else fact.kind.label
    return Finding(
        kind=Kind.UNKNOWN_DIFFERENCE,
        object=fact.link or fact.value or place,
        place=place,
        cause=f"{'missing' if missing else 'not in the table'}: {fact}",
        breaks=f"traffic through {place}",
        repair=repair_of(Difference([fact], []) if missing else Difference([], [fact])),
        evidence=(Evidence(command="sudo scripts/network.sh status", line=f"{word}  {fact}"),),
    )
