"""Open-loop load: requests at a constant rate, independent of the answers to earlier ones.

A request's latency counts from the moment it was meant to be sent, so that a stall is not hidden by a
client that waits with it ("coordinated omission"). GETs are never repeated; an order is repeated with its
Idempotency-Key, as a careful client does, until the answer is 201 with its number, or until its deadline.
Rates and latencies are measured with the monotonic clock: a step of the wall clock changes neither.
"""

import argparse
import json
import signal
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from enum import StrEnum
from typing import TextIO

import gevent
from dnslib import DNSError, DNSRecord
from geventhttpclient import HTTPClient

from lab.csv_files import Writer

TIMEOUT_SECONDS = 6.0
ORDER_SECONDS = 30.0
RETRY_SECONDS = 0.5
NAME_SECONDS = 1.0
OK, CREATED, INVALID, UNAVAILABLE = 200, 201, 400, 503
GOOD = {
    "get": OK,
    "read": OK,
    "order": CREATED,
    "mistake": INVALID,
    "name": OK,
}  # the right answer of each kind

Answer = tuple[int, str, str, bytes]  # status, X-Instance, Retry-After, body
NO_ANSWER: Answer = (0, "", "", b"")


class Outcome(StrEnum):
    """The outcome of a request; each request has exactly one."""

    RIGHT = "answered right"
    GARBLED = "answered 201 without an order's number"
    REFUSED = "refused by 503 with Retry-After"
    WRONG = "answered otherwise"
    NONE = "not answered"


@dataclass(frozen=True)
class Sample:
    """One request: the intended time (seconds since 1970), and the answer.

    `kind` is get (the catalogue), read (a stored order), order, mistake (an order for a product that does not
    exist) or name (a look-up in DNS). `status` 0 is no answer. `key` is the Idempotency-Key and the
    customer_id of an order or mistake; a 201 without `order_id` could not be read.
    """

    kind: str
    intended: float
    latency_ms: float
    status: int
    instance: str = ""
    retry_after: str = ""
    key: str = ""
    order_id: str = ""

    @property
    def outcome(self) -> Outcome:
        """Return the outcome of the request."""
        if self.status == GOOD[self.kind]:
            return Outcome.GARBLED if self.kind == "order" and not self.order_id else Outcome.RIGHT
        if self.status == UNAVAILABLE and self.retry_after:
            return Outcome.REFUSED
        return Outcome.WRONG if self.status else Outcome.NONE

    @property
    def good(self) -> bool:
        """Return whether the answer is the right one."""
        return self.outcome is Outcome.RIGHT


class Load:
    """Sends requests to `url`, and look-ups to `resolver`; writes a line of CSV for each answer."""

    def __init__(self, url: str, out: TextIO, resolver: str = "") -> None:
        self._client = HTTPClient.from_url(
            url, concurrency=2000, connection_timeout=2, network_timeout=TIMEOUT_SECONDS
        )
        self._resolver = resolver
        self._writer = Writer(out)
        self._writer.row(field.name for field in fields(Sample))
        self._since_1970 = time.time() - time.monotonic()  # noqa: TID251  read once
        self._last_order = ""
        self.stopped = False
        self.requests = self.failures = 0

    def request_catalogue(self, begin: float) -> None:
        """Request the catalogue once."""
        self._note("get", begin, self._send("GET", "/api/products"))

    def read_order(self, begin: float) -> None:
        """Request the last acknowledged order once."""
        if self._last_order:
            self._note("read", begin, self._send("GET", f"/api/orders/{self._last_order}"))

    def place_invalid_order(self, begin: float) -> None:
        """Order a product that does not exist, another one each time."""
        key = uuid.uuid4().hex
        self._note("mistake", begin, self._post(key, f"no-{key}"), key)

    def look_up_name(self, begin: float) -> None:
        """Look the product service up in DNS once."""
        is_known = gevent.get_hub().threadpool.apply(has_address, (self._resolver, "product-service.lab"))
        self._note("name", begin, (OK, "", "", b"") if is_known else NO_ANSWER)

    def place_order(self, begin: float) -> None:
        """Repeat an order until it is acknowledged."""
        key, deadline = uuid.uuid4().hex, begin + ORDER_SECONDS
        while True:
            answer = self._post(key, "2")
            order_id = order_id_of(answer[3]) if answer[0] == CREATED else ""
            self._note("order", begin, answer, key, order_id)
            self._last_order = order_id or self._last_order
            if order_id or time.monotonic() > deadline:
                return
            gevent.sleep(RETRY_SECONDS)
            begin = time.monotonic()

    def _post(self, key: str, product_id: str) -> Answer:
        order = {"customer_id": key, "product_id": product_id, "quantity": 1, "total_price": 29.99}
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        return self._send("POST", "/api/orders", json.dumps(order), headers)

    def _send(self, method: str, path: str, body: str = "", headers: dict[str, str] | None = None) -> Answer:
        try:
            with gevent.Timeout(TIMEOUT_SECONDS, TimeoutError):
                answer = self._client.request(method, path, body, headers or {})
                content = bytes(answer.read())
                instance, retry_after = answer.get("X-Instance", ""), answer.get("Retry-After", "")
                return answer.status_code, str(instance), str(retry_after), content
        except Exception:  # count every failed request as a sample
            return NO_ANSWER

    def _note(self, kind: str, begin: float, answer: Answer, key: str = "", order_id: str = "") -> None:
        latency = round((time.monotonic() - begin) * 1000, 3)
        status, instance, retry_after, _ = answer
        intended = round(begin + self._since_1970, 6)
        sample = Sample(kind, intended, latency, status, instance, retry_after, key, order_id)
        self.requests += 1
        self.failures += not sample.good
        self._writer.row(astuple(sample))

    def run(self, work: Callable[[float], None], rate: float, seconds: float) -> None:
        """Begin `work` `rate` times a second for `seconds`, then wait for the open requests."""
        begin = time.monotonic()
        under_way = []
        for number in range(int(rate * seconds)):
            intended = begin + number / rate
            gevent.sleep(max(0.0, intended - time.monotonic()))
            if self.stopped:
                break
            under_way.append(gevent.spawn(work, intended))
            if len(under_way) > 10 * rate:
                under_way = [one for one in under_way if not one.dead]
        gevent.joinall(under_way)  # each request ends at its deadline and writes a sample


def has_address(resolver: str, name: str) -> bool:
    """Return whether the resolver at this address has an address for the name. It blocks for NAME_SECONDS at most."""
    question = DNSRecord.question(name)
    try:
        answer = DNSRecord.parse(question.send(resolver, timeout=NAME_SECONDS))
    except (OSError, DNSError):
        return False
    return answer.header.id == question.header.id and bool(answer.rr)


def order_id_of(body: bytes) -> str:
    """Return the order's number in an answer 201; empty if it cannot be read."""
    try:
        number = json.loads(body)["order_id"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return str(number) if type(number) in (int, str) else ""


def main() -> None:
    """Run until the time is over, or until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", required=True, help="the platform: http://HOST:PORT")
    parser.add_argument("--resolver", default="", metavar="IP", help="the name server")
    for kind, rate in (("gets", 200), ("orders", 10), ("reads", 0), ("mistakes", 0), ("names", 0)):
        parser.add_argument(f"--{kind}", type=float, default=rate, metavar="PER_SECOND")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--out", type=argparse.FileType("w"), default=sys.stdout)
    options = parser.parse_args()
    load = Load(options.url, options.out, options.resolver)
    gevent.signal_handler(signal.SIGTERM, setattr, load, "stopped", True)
    works = {
        load.request_catalogue: options.gets,
        load.place_order: options.orders,
        load.read_order: options.reads,
        load.place_invalid_order: options.mistakes,
        load.look_up_name: options.names if options.resolver else 0,
    }
    gevent.joinall([gevent.spawn(load.run, work, rate, options.seconds) for work, rate in works.items()])
    options.out.flush()


if __name__ == "__main__":
    main()
