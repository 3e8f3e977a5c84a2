"""The story of one packet: hop by hop, how it ended, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum


class Kind(StrEnum):
    """How a story ends."""

    ALLOWED = "allowed"
    AGAINST = "allowed, AGAINST the policy"
    POLICY = "dropped by the policy"
    RATE = "over its limit"
    FOREIGN = "dropped by somebody else's rule"
    DIVERTED = "diverted by somebody else's rule"
    NO_LISTENER = "nobody listens"
    NO_ROUTE = "no route"
    WRONG_ROUTE = "a wrong route"
    NO_NEIGHBOUR = "nobody answers ARP"
    WRONG_ADDRESS = "a wrong address"
    NO_NAMESPACE = "a namespace is missing"
    LINK_DOWN = "a link is down"
    UNPLUGGED = "not a port of its bridge"
    NOT_FORWARDED = "the host does not forward"
    NO_ANSWER = "no answer comes back"
    LOST = "lost"
    UNKNOWN = "cannot tell"


# What the state names and a probe cannot: it only sees that nothing comes through.
CAUSES_OF_SILENCE = (
    Kind.WRONG_ROUTE,
    Kind.NO_NEIGHBOUR,
    Kind.WRONG_ADDRESS,
    Kind.NO_NAMESPACE,
    Kind.LINK_DOWN,
    Kind.UNPLUGGED,
    Kind.NOT_FORWARDED,
    Kind.NO_ROUTE,
    Kind.FOREIGN,
    Kind.DIVERTED,
)


class Mark(StrEnum):
    """What a probe showed of a hop."""

    UNWATCHED = ""
    REACHED = "reached"
    STOPPED = "stopped here"
    NOT_REACHED = "not reached"


@dataclass(frozen=True)
class Flow:
    """What is asked about."""

    source: str
    destination: str
    protocol: str
    port: int

    def __str__(self) -> str:
        """Write it for people."""
        return f"{self.source} -> {self.destination} {self.protocol}" + (f"/{self.port}" if self.port else "")


@dataclass(frozen=True)
class Hop:
    """One station: where, what happened, the command that shows it; and what a probe showed, if one was sent."""

    where: str
    what: str
    shown_by: str = ""
    mark: Mark = Mark.UNWATCHED


@dataclass(frozen=True)
class Remark:
    """Something wrong beside the way of this packet, and what to do about it."""

    what: str
    fix: str


@dataclass(frozen=True)
class Ending:
    """How it ended: which policy line or rule decided, why, and what to do if it is not meant."""

    kind: Kind
    why: str
    policy_id: str = ""
    fix: str = ""

    @property
    def same_as(self) -> tuple[Kind, str]:
        """What two stories of one packet must agree in."""
        return self.kind, self.policy_id


@dataclass(frozen=True)
class Story:
    """All of it. `live` is how it really ended, when a probe was sent."""

    flow: Flow
    hops: tuple[Hop, ...]
    ending: Ending
    live: Ending | None = None
    evidence: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()
    taker: str = ""  # where it goes in the end, and to which port: a published port leads to a node
    port: int = 0

    @property
    def agrees(self) -> bool:
        """Tell whether paper and experiment say the same; paper that cannot tell contradicts nothing."""
        if self.live is None or self.ending.kind is Kind.UNKNOWN:
            return True
        return self.live.same_as == self.ending.same_as

    @property
    def truth(self) -> Ending:
        """Give the ending that counts: what was tried."""
        return self.live or self.ending

    def as_dict(self) -> dict[str, object]:
        """Write it for programs."""
        return {**asdict(self), "agrees": self.agrees, "truth": asdict(self.truth)}


@dataclass
class Telling:
    """A story while it is told."""

    flow: Flow
    hops: list[Hop] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    taker: str = ""
    port: int = 0

    def __post_init__(self) -> None:
        """Begin with what is asked; a translation leads elsewhere."""
        self.aim(self.flow.destination, self.flow.port)

    def aim(self, taker: str, port: int) -> None:
        """Go to another place."""
        self.taker, self.port = taker, port

    def hop(self, where: str, what: str, shown_by: str = "") -> None:
        """Add a station."""
        self.hops.append(Hop(where, what, shown_by))

    def remark(self, what: str, fix: str) -> None:
        """Note something that does not decide."""
        if Remark(what, fix) not in self.remarks:
            self.remarks.append(Remark(what, fix))

    def doubt(self, *what: str) -> None:
        """Note what cannot be told, once."""
        self.doubts += [each for each in dict.fromkeys(what) if each not in self.doubts]

    def end(self, kind: Kind, why: str, policy_id: str = "", fix: str = "") -> Story:
        """End it; beside something that cannot be simulated there is no certain end."""
        ending = Ending(kind, why, policy_id, fix)
        if self.doubts:
            why = f"a rule above cannot be simulated; if it does not match: {kind.value}, {why}"
            ending = Ending(
                Kind.UNKNOWN, why, policy_id, "send a probe: run it again without --static and --state"
            )
        return Story(
            self.flow,
            tuple(self.hops),
            ending,
            doubts=tuple(self.doubts),
            remarks=tuple(each for each in self.remarks if each.what != why),
            taker=self.taker,
            port=self.port,
        )


def with_experiment(
    story: Story, live: Ending, seen_at: set[str], evidence: tuple[str, ...], killer: Hop | None
) -> Story:
    """Lay what was seen beside what was foretold: how far the probe came, and what stopped it."""
    hops = _marked(story, live, seen_at, killer)
    return replace(story, hops=tuple(hops), live=live, evidence=evidence)


def _marked(story: Story, live: Ending, seen_at: set[str], killer: Hop | None) -> list[Hop]:
    """Mark the hops up to the last one where it was seen; decisions cannot be watched, what follows shows them."""
    passed = live.kind in (Kind.ALLOWED, Kind.AGAINST)
    last = max((at for at, hop in enumerate(story.hops) if hop.where in seen_at), default=-1)
    foretold = live.same_as == story.ending.same_as
    if passed or foretold:
        last = len(story.hops) - 1
    reached = [replace(hop, mark=Mark.REACHED) for hop in story.hops[: last + 1]]
    rest = [replace(hop, mark=Mark.NOT_REACHED) for hop in story.hops[last + 1 :]]
    if passed:
        return reached
    if killer and not (reached and reached[-1].where == killer.where):
        return [*reached, replace(killer, mark=Mark.STOPPED), *rest]
    stopped = [replace(hop, mark=Mark.STOPPED) for hop in reached[-1:] if killer or foretold]
    return [*reached[:-1], *(stopped or reached[-1:]), *rest]
