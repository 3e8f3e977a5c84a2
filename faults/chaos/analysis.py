"""The verdict on each fault, from samples, events and the gateway's log. Pure: it reads and writes nothing."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from faults.chaos.load import CREATED, Sample
from faults.chaos.promises import KINDS, Allowed, Promise
from monitoring.gateway_log import Change, Routed
from monitoring.quantiles import quantile

REFUSAL_MS, ORDER_REFUSAL_MS = 2000.0, 5000.0  # the gateway's deadlines of 1.5 s and 4 s, plus transit
LAST_SECONDS = 8.0  # samples so long after the last fault count for that fault
SLOW_MS = 500.0
SERVER_ERROR, UNAVAILABLE = 500, 503
WORDS = {"get": "GETs", "read": "GETs of orders", "order": "orders", "mistake": "mistaken orders"}


@dataclass(frozen=True)
class Event:
    """A line of the run's log: a fault begins, ends, or a promise is broken (then `text` says which)."""

    time: float
    event: str
    fault: str
    node: str
    text: str = ""


@dataclass(frozen=True)
class Fault:
    """A fault of a node from `begin` to `end`; the next fault begins at `until`. Seconds since 1970."""

    name: str
    node: str
    begin: float
    end: float
    until: float
    noted: tuple[str, ...] = ()  # promises that the run itself has seen broken

    @property
    def title(self) -> str:
        """Return the fault and its node."""
        return f"{self.name.replace('_', ' ')} {self.node.strip('-')}".strip()

    def has(self, sample: Sample) -> bool:
        """Return whether the sample belongs to this fault: its answer came between this begin and the next."""
        return self.begin <= sample.intended + sample.latency_ms / 1000 < self.until


@dataclass
class Result:
    """The effects of a fault. Times are seconds after the fault's begin (`back`: after its end); None: never.

    `back` is when the instance answered again; if the node is not a product instance, when the last request failed.
    """

    fault: Fault
    promise: Promise
    counts: dict[str, int]
    failures: dict[str, int]
    slow: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None
    p99_first_second_ms: float | None = None
    unacknowledged: int = 0
    detected: float | None = None
    out: float | None = None
    back: float | None = None
    broken: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ledger:
    """Acknowledged orders against those in PostgreSQL, by Idempotency-Key."""

    acknowledged: int
    stored: int
    lost: int
    doubled: int
    mistaken: int  # stored under another number than the client's answer had
    garbled: int = 0  # answers 201 that could not be read
    unwanted: int = 0  # stored, for a product that does not exist

    @property
    def good(self) -> bool:
        """Return whether every 201 could be read and is stored exactly once, and no invalid order is stored."""
        return not (self.lost or self.doubled or self.mistaken or self.garbled or self.unwanted)


def faults_of(events: Sequence[Event]) -> list[Fault]:
    """Return the faults in the order in which they began."""
    begins = [event for event in events if event.event == "begin"]
    faults = []
    for begin, following in zip(begins, [*begins[1:], None], strict=True):
        last = following.time if following else math.inf
        own = [event for event in events if begin.time <= event.time < last]
        end = next((event.time for event in own if event.event == "end"), math.inf)
        noted = tuple(event.text for event in own if event.event == "broken")
        until = last if following else end + LAST_SECONDS
        faults.append(Fault(begin.fault, begin.node, begin.time, end, until, noted))
    return faults


def judge(
    fault: Fault,
    promise: Promise,
    *,
    samples: Iterable[Sample],
    routed: Iterable[Routed],
    changes: Iterable[Change],
    url: str,
) -> Result:
    """Return a fault's effects; `url` is the node's URL, empty if the node is not a product instance."""
    samples = list(samples)
    during = [sample for sample in samples if fault.has(sample)]
    kinds = {kind: [sample for sample in during if sample.kind == kind] for kind in (*KINDS, "name")}
    failures = {kind: sum(not sample.good for sample in its) for kind, its in kinds.items()}
    result = Result(fault, promise, {kind: len(its) for kind, its in kinds.items()}, failures)
    good = [sample for sample in kinds["get"] if sample.good]
    result.slow = sum(sample.latency_ms > SLOW_MS for sample in kinds["get"])
    result.p50_ms = quantile((sample.latency_ms for sample in good), 0.50)
    result.p99_ms = quantile((sample.latency_ms for sample in good), 0.99)
    first_second = [sample.latency_ms for sample in good if sample.intended < fault.begin + 1]
    result.p99_first_second_ms = quantile(first_second, 0.99)
    acknowledged = {sample.key for sample in samples if sample.kind == "order" and sample.good}
    result.unacknowledged = len({sample.key for sample in kinds["order"]} - acknowledged)
    find_times(result, [change for change in changes if change.instance == fault.node], routed, url)
    failed = [sample.intended for sample in during if sample.kind != "name" and not sample.good]
    if failed and not url:
        result.back = max(0.0, max(failed) - fault.end)
    result.broken = [*fault.noted, *broken_answers(result, during), *broken_times(result, during, url)]
    return result


def find_times(result: Result, changes: Sequence[Change], routed: Iterable[Routed], url: str) -> None:
    """Set when the gateway noticed: first by one worker, then by all; and when the node answered again."""
    fault = result.fault
    outs: dict[int, float] = {}
    for change in changes:
        if change.change == "out" and fault.begin <= change.time < fault.until:
            outs.setdefault(change.worker, change.time - fault.begin)
    if outs:
        result.detected = min(outs.values())
        result.out = max(outs.values())
    restored = max(fault.end, fault.begin + (result.out or 0.0))
    answered = [
        request.time for request in routed if request.url == url and restored < request.time < fault.until
    ]
    if answered and url:
        result.back = min(answered) - fault.end


def is_allowed(sample: Sample, allowed: Allowed) -> bool:
    """Return whether the promise allows this answer."""
    if sample.good or allowed is Allowed.ANY:
        return True
    in_time = sample.latency_ms <= (REFUSAL_MS if sample.kind == "get" else ORDER_REFUSAL_MS)
    refused = sample.status == UNAVAILABLE and bool(sample.retry_after) and in_time
    return refused and allowed is not Allowed.NONE


def broken_answers(result: Result, samples: Sequence[Sample]) -> list[str]:
    """Return the promises about answers that were broken, a sentence each."""
    broken = []
    for kind, allowed in result.promise.allowed.items():
        wrong = sum(not is_allowed(sample, allowed) for sample in samples if sample.kind == kind)
        if wrong:
            how = "failed" if allowed is Allowed.NONE else "failed, not by 503 with Retry-After"
            broken.append(f"{wrong} {WORDS[kind]} {how}")
        if allowed is Allowed.SEEN and not result.failures[kind]:
            broken.append(f"no {WORDS[kind]} were refused: the fault had no effect")
    errors = sum(sample.status == SERVER_ERROR for sample in samples)
    if errors:
        broken.append(f"{errors} answers 500")
    if result.unacknowledged:
        broken.append(f"{result.unacknowledged} orders never acknowledged")
    return broken


def broken_times(result: Result, samples: Sequence[Sample], url: str) -> list[str]:
    """Return the promises about times that were broken, a sentence each."""
    fault, promise, broken = result.fault, result.promise, []
    p99_ms = max((p99 for p99 in (result.p99_ms, result.p99_first_second_ms) if p99 is not None), default=0.0)
    if promise.p99_ms is not None and p99_ms > promise.p99_ms:
        broken.append(f"p99 is {p99_ms:.0f} ms")
    if promise.noticed is not None and (result.out is None or result.out > promise.noticed):
        broken.append(f"noticed later than {promise.noticed:g} s")
    if url and (result.back is None or result.back > promise.back):
        broken.append(f"not back after {promise.back:g} s")
    late = [s for s in samples if s.kind != "name" and not s.good and s.intended > fault.end + promise.back]
    if late:
        broken.append(f"{len(late)} failures later than {promise.back:g} s after the end")
    last_name = fault.end + promise.back if promise.names is None else fault.begin + promise.names
    names = [s for s in samples if s.kind == "name" and not s.good]
    if any(s.intended > last_name for s in names) or (names and promise.names == 0):
        broken.append(f"{len(names)} look-ups of a name failed")
    return broken


def compare_orders(samples: Iterable[Sample], stored: Iterable[tuple[str, str]]) -> Ledger:
    """Compare acknowledged orders with stored ones, (id, customer_id) each."""
    samples = list(samples)
    orders = [sample for sample in samples if sample.kind == "order" and sample.status == CREATED]
    acknowledged = {sample.key: sample.order_id for sample in orders if sample.good}
    ids: dict[str, list[str]] = {}
    for order_id, key in stored:
        ids.setdefault(key, []).append(order_id)
    return Ledger(
        acknowledged=len(acknowledged),
        stored=sum(map(len, ids.values())),
        lost=sum(key not in ids for key in acknowledged),
        doubled=sum(len(numbers) > 1 for numbers in ids.values()),
        mistaken=sum(key in ids and order_id not in ids[key] for key, order_id in acknowledged.items()),
        garbled=sum(not sample.good for sample in orders),
        unwanted=len(ids.keys() & {sample.key for sample in samples if sample.kind == "mistake"}),
    )
