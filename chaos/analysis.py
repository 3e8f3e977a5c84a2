"""From samples, events and the gateway's log to one verdict a fault. Pure: nothing is read or written."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from chaos.load import Sample
from monitoring.gateway_log import Change, Routed

DEADLINE_MS = 2000.0  # of a GET, as the gateway gives it
OUT_SECONDS = 1.0
RECOVERY_SECONDS = 2.0
SLOW_MS = 500.0
OK, CREATED, UNAVAILABLE = 200, 201, 503
PRODUCT_FAULTS = ("killed", "stopped", "cut", "blackholed")


@dataclass(frozen=True)
class Fault:
    """What was done to a node, from `begin` to `end`; `until` is when the next came. Seconds since 1970."""

    name: str
    node: str
    begin: float
    end: float
    until: float


@dataclass
class Result:
    """What became of a fault. Times are in seconds after its begin (`back`: after its end), None is never."""

    fault: Fault
    gets: int = 0
    failed: int = 0
    slow: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    p99_first_second_ms: float = 0.0
    order_attempts: int = 0
    orders_refused: int = 0
    detected: float | None = None
    out: float | None = None
    back: float | None = None
    statuses: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ledger:
    """Acknowledged orders against those in PostgreSQL, by Idempotency-Key."""

    acknowledged: int
    stored: int
    lost: int
    doubled: int
    mistaken: int  # stored, but under another number than the client was told

    @property
    def good(self) -> bool:
        """Return whether every 201 is there exactly once."""
        return not (self.lost or self.doubled or self.mistaken)


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that `share` of all do not exceed (nearest rank); 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def faults_of(events: Sequence[tuple[float, str, str, str]]) -> list[Fault]:
    """Return the faults in a list of (time, begin or end, fault, node)."""
    begins = [number for number, event in enumerate(events) if event[1] == "begin"]
    faults = []
    for number, following in zip(begins, [*begins[1:], None], strict=True):
        begin, _, name, node = events[number]
        end = events[number + 1][0] if number + 1 < len(events) else math.inf
        until = events[following][0] if following is not None else end + RECOVERY_SECONDS + 3
        faults.append(Fault(name, node, begin, end, until))
    return faults


def judge(
    fault: Fault, samples: Iterable[Sample], routed: Iterable[Routed], changes: Iterable[Change], url: str
) -> Result:
    """Return what became of a fault; `url` is that of its node."""
    during = [sample for sample in samples if fault.begin <= sample.intended < fault.until]
    gets = [sample for sample in during if sample.kind == "get"]
    orders = [sample for sample in during if sample.kind == "order"]
    result = Result(fault, len(gets))
    result.statuses = Counter(sample.status for sample in gets)
    result.failed = sum(sample.status != OK for sample in gets)
    result.slow = sum(sample.latency_ms > SLOW_MS for sample in gets)
    result.p50_ms = percentile((sample.latency_ms for sample in gets), 0.50)
    result.p99_ms = percentile((sample.latency_ms for sample in gets), 0.99)
    first_second = [sample.latency_ms for sample in gets if sample.intended < fault.begin + 1]
    result.p99_first_second_ms = percentile(first_second, 0.99)
    result.order_attempts = len(orders)
    result.orders_refused = sum(sample.status != CREATED for sample in orders)
    find_times(result, [change for change in changes if change.instance == fault.node], routed, url)
    check_promises(result, gets)
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
    begun = fault.begin + (result.out or 0.0) if fault.name == "killed" else fault.end
    answered = [
        request.time for request in routed if request.url == url and begun < request.time < fault.until
    ]
    if answered and url:
        result.back = min(answered) - (fault.begin if fault.name == "killed" else fault.end)


def check_promises(result: Result, gets: Sequence[Sample]) -> None:
    """Note which promises were broken."""
    fault = result.fault
    if fault.name == "random":
        return  # the ledger of orders is what counts
    if fault.name == "all_stopped":
        check_outage(result, gets)
        return
    is_product = fault.node.startswith("product")
    if result.failed and fault.node != "nginx-lb":
        result.broken.append(f"{result.failed} failed GETs")
    if is_product and result.p99_first_second_ms > DEADLINE_MS:
        result.broken.append(f"p99 of its first second is {result.p99_first_second_ms:.0f} ms")
    if is_product and (result.out is None or result.out > OUT_SECONDS):
        result.broken.append("not out of rotation within 1 s")
    if is_product and result.back is None:
        result.broken.append("did not come back")


def check_outage(result: Result, gets: Sequence[Sample]) -> None:
    """Check what is promised when all instances are gone: 503 with Retry-After, and a quick recovery.

    The fault's end is when the first instance answered again.
    """
    bad = [sample for sample in gets if sample.status != OK]
    if any(sample.status != UNAVAILABLE or not sample.retry_after for sample in bad):
        result.broken.append("an answer that is not 503 with Retry-After")
    if any(sample.latency_ms > DEADLINE_MS for sample in bad):
        result.broken.append("a refusal after the deadline")
    if not bad:
        result.broken.append("the outage was not felt at all")
        return
    back = [sample.intended for sample in gets if sample.status == OK and sample.intended > bad[-1].intended]
    result.back = max(0.0, min(back) - result.fault.end) if back else None
    if result.back is None or result.back > RECOVERY_SECONDS:
        result.broken.append("no recovery within 2 s of the first return")


def balance(samples: Iterable[Sample], stored: Iterable[tuple[str, str]]) -> Ledger:
    """Compare acknowledged orders with stored ones, (id, customer_id) each."""
    acknowledged = {
        sample.key: sample.order_id
        for sample in samples
        if sample.kind == "order" and sample.status == CREATED
    }
    ids: dict[str, list[str]] = {}
    for order_id, key in stored:
        ids.setdefault(key, []).append(order_id)
    return Ledger(
        acknowledged=len(acknowledged),
        stored=sum(len(found) for found in ids.values()),
        lost=sum(key not in ids for key in acknowledged),
        doubled=sum(len(found) > 1 for found in ids.values()),
        mistaken=sum(key in ids and order_id not in ids[key] for key, order_id in acknowledged.items()),
    )
