"""The result for one packet: each hop, the outcome, and the fix."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from security.policy.model import Flow


class Kind(StrEnum):
    """The kinds of a packet's end."""

    ALLOWED = "allowed"
    AGAINST_POLICY = "allowed, AGAINST the policy"
    POLICY = "dropped by the policy"
    RATE = "over its limit"
    NOT_OURS = "dropped by a rule that is not the lab's"
    REDIRECTED = "redirected by a rule that is not the lab's"
    NO_LISTENER = "no listener"
    NO_ROUTE = "no route"
    WRONG_ROUTE = "wrong route"
    NO_NEIGHBOUR = "no ARP reply"
    WRONG_ADDRESS = "wrong address"
    NO_NAMESPACE = "namespace missing"
    LINK_DOWN = "link down"
    NOT_A_PORT = "not a port of its bridge"
    NOT_FORWARDED = "not forwarded by the host"
    NO_REPLY = "no reply"
    LOST = "lost"
    UNKNOWN = "unknown"


class Mark(StrEnum):
    """The result of the probe at a hop."""

    UNWATCHED = ""
    REACHED = "reached"
    STOPPED = "stopped here"
    NOT_REACHED = "not reached"


@dataclass(frozen=True)
class Hop:
    """One step: the place, the event, the command that shows it, and the probe's result."""

    where: str
    what: str
    shown_by: str = ""
    mark: Mark = Mark.UNWATCHED


@dataclass(frozen=True)
class Problem:
    """A problem that does not decide this packet, and how to fix it."""

    what: str
    fix: str


@dataclass(frozen=True)
class Outcome:
    """The end of a packet: its kind, the reason, the fix, and the id of the policy line that decided."""

    kind: Kind
    why: str
    fix: str = ""
    policy_id: str = ""

    def is_same_as(self, other: Outcome) -> bool:
        """Compare kind and policy line; the texts may differ."""
        return (self.kind, self.policy_id) == (other.kind, other.policy_id)


@dataclass(frozen=True)
class Result:
    """The path of one packet; `observed` is the probe's outcome, None without a probe."""

    flow: Flow
    after_nat: Flow  # a published port leads to a node
    hops: tuple[Hop, ...]
    predicted: Outcome
    observed: Outcome | None = None
    kernel_trace: tuple[str, ...] = ()
    not_simulated: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def is_as_predicted(self) -> bool:
        """Compare prediction and probe; an unknown prediction is never wrong."""
        if self.observed is None or self.predicted.kind is Kind.UNKNOWN:
            return True
        return self.observed.is_same_as(self.predicted)

    @property
    def outcome(self) -> Outcome:
        """Return the observed outcome, else the predicted one."""
        return self.observed or self.predicted

    def as_dict(self) -> dict[str, object]:
        """Return the result for JSON."""
        result = asdict(self, dict_factory=_empty_as_none)
        return {
            **result,
            "as_predicted": self.is_as_predicted,
            "outcome": asdict(self.outcome, dict_factory=_empty_as_none),
        }


def _empty_as_none(fields: list[tuple[str, object]]) -> dict[str, object]:
    return {name: None if value == "" else value for name, value in fields}


def mark_hops(result: Result, observed: Outcome, seen_at: set[str], drop: Hop | None) -> list[Hop]:
    """Mark hops up to the last place where the probe was seen: a routing decision cannot be observed.

    `drop` is the rule of the kernel's trace that dropped it.
    """
    passed = observed.kind in (Kind.ALLOWED, Kind.AGAINST_POLICY)
    as_predicted = observed.is_same_as(result.predicted)
    last = max((at for at, hop in enumerate(result.hops) if hop.where in seen_at), default=-1)
    if passed or as_predicted:
        last = len(result.hops) - 1
    reached = [replace(hop, mark=Mark.REACHED) for hop in result.hops[: last + 1]]
    rest = [replace(hop, mark=Mark.NOT_REACHED) for hop in result.hops[last + 1 :]]
    if passed:
        return reached
    if drop and not (reached and reached[-1].where == drop.where):
        return [*reached, replace(drop, mark=Mark.STOPPED), *rest]
    if reached and (drop or as_predicted):
        reached[-1] = replace(reached[-1], mark=Mark.STOPPED)
    return [*reached, *rest]
