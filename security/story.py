"""The story of one packet: hop by hop, how it ended, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum


class Kind(StrEnum):
    """How a story ends."""

    ALLOWED = "allowed"
    POLICY = "dropped by the policy"
    RATE = "over its rate"
    FOREIGN = "dropped by somebody else's rule"
    NO_LISTENER = "nobody listens"
    NO_ROUTE = "no route"
    LINK_DOWN = "a link is down"
    NOT_FORWARDED = "the host does not forward"
    NO_ANSWER = "no answer comes back"
    LOST = "lost"


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
    """One station: where, what happened, the command that shows it; `seen` by a probe, if one was sent."""

    where: str
    what: str
    shown_by: str = ""
    seen: bool | None = None


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

    @property
    def agrees(self) -> bool:
        """Tell whether paper and experiment say the same."""
        return self.live is None or self.live.same_as == self.ending.same_as

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

    def hop(self, where: str, what: str, shown_by: str = "") -> None:
        """Add a station."""
        self.hops.append(Hop(where, what, shown_by))

    def end(self, kind: Kind, why: str, policy_id: str = "", fix: str = "") -> Story:
        """End it."""
        return Story(
            self.flow, tuple(self.hops), Ending(kind, why, policy_id, fix), doubts=tuple(self.doubts)
        )


def _seen(where: str, seen_at: set[str]) -> bool | None:
    """Tell whether it was seen there; decisions cannot be watched, only what follows them."""
    return None if where.startswith(("bridge ", "routing ")) else where in seen_at


def with_experiment(story: Story, live: Ending, seen_at: set[str], evidence: tuple[str, ...]) -> Story:
    """Lay what was seen beside what was foretold; a hop whose place was watched is marked."""
    hops = tuple(replace(hop, seen=_seen(hop.where, seen_at)) for hop in story.hops)
    return replace(story, hops=hops, live=live, evidence=evidence)
