"""Open-loop load: requests at a constant rate, whatever becomes of those before.

A request's latency counts from the moment it was meant to be sent, so that a stall is not hidden by a
client that waits with it ("coordinated omission"). GETs are never repeated; an order is repeated with its
Idempotency-Key, as a careful client does, until it is answered 201 or its time is over.
"""

import argparse
import csv
import json
import signal
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from typing import TextIO

import gevent
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError

TIMEOUT_SECONDS = 6.0
ORDER_SECONDS = 30.0
RETRY_SECONDS = 0.5
CREATED = 201
NoAnswer = (OSError, HTTPParseError)


@dataclass(frozen=True)
class Sample:
    """One request: when it was meant to be sent (seconds since 1970), and what came of it.

    `status` 0 is no answer. `key` is an order's Idempotency-Key and its customer_id.
    """

    kind: str
    intended: float
    latency_ms: float
    status: int
    instance: str = ""
    retry_after: str = ""
    key: str = ""
    order_id: str = ""


class Load:
    """Sends GETs and orders to `url`, writes a line of CSV for each answer."""

    def __init__(self, url: str, out: TextIO) -> None:
        self._client = HTTPClient.from_url(
            url, concurrency=2000, connection_timeout=2, network_timeout=TIMEOUT_SECONDS
        )
        self._writer = csv.writer(out, lineterminator="\n")
        self._writer.writerow(field.name for field in fields(Sample))
        self.stopped = False

    def get(self, intended: float) -> None:
        """Ask for the catalogue once."""
        self._note("get", intended, self._ask("GET", "/api/products"))

    def order(self, intended: float) -> None:
        """Order until it is acknowledged."""
        key = uuid.uuid4().hex
        order = {"customer_id": key, "product_id": "2", "quantity": 1, "total_price": 29.99}
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        begin = intended
        while True:
            status, instance, retry_after, body = self._ask("POST", "/api/orders", json.dumps(order), headers)
            order_id = str(json.loads(body).get("order_id", "")) if status == CREATED else ""
            self._note("order", begin, (status, instance, retry_after, body), key, order_id)
            if status == CREATED or time.time() - intended > ORDER_SECONDS:
                return
            gevent.sleep(RETRY_SECONDS)
            begin = time.time()

    def _ask(
        self, method: str, path: str, body: str = "", headers: dict[str, str] | None = None
    ) -> tuple[int, str, str, bytes]:
        try:
            with gevent.Timeout(TIMEOUT_SECONDS, TimeoutError):
                answer = self._client.request(method, path, body, headers or {})
                content = bytes(answer.read())
        except NoAnswer:
            return 0, "", "", b""
        instance, retry_after = answer.get("X-Instance", ""), answer.get("Retry-After", "")
        return answer.status_code, str(instance), str(retry_after), content

    def _note(
        self,
        kind: str,
        intended: float,
        answer: tuple[int, str, str, bytes],
        key: str = "",
        order_id: str = "",
    ) -> None:
        latency = round((time.time() - intended) * 1000, 3)
        status, instance, retry_after, _ = answer
        sample = Sample(kind, round(intended, 6), latency, status, instance, retry_after, key, order_id)
        self._writer.writerow(astuple(sample))

    def run(self, work: Callable[[float], None], rate: float, seconds: float) -> None:
        """Begin `work` `rate` times a second for `seconds`, then wait for what is under way."""
        begin = time.time()
        under_way = []
        for number in range(int(rate * seconds)):
            intended = begin + number / rate
            gevent.sleep(max(0.0, intended - time.time()))
            if self.stopped:
                break
            under_way.append(gevent.spawn(work, intended))
            if len(under_way) > 10 * rate:
                under_way = [one for one in under_way if not one.dead]
        gevent.joinall(under_way, timeout=ORDER_SECONDS + TIMEOUT_SECONDS)


def main() -> None:
    """Run until the time is over, or until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", required=True, help="where the platform is: http://HOST:PORT")
    parser.add_argument("--gets", type=float, default=200, metavar="PER_SECOND")
    parser.add_argument("--orders", type=float, default=10, metavar="PER_SECOND")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--out", type=argparse.FileType("w"), default=sys.stdout)
    options = parser.parse_args()
    load = Load(options.url, options.out)
    gevent.signal_handler(signal.SIGTERM, setattr, load, "stopped", True)
    gevent.joinall(
        [
            gevent.spawn(load.run, load.get, options.gets, options.seconds),
            gevent.spawn(load.run, load.order, options.orders, options.seconds),
        ]
    )
    options.out.flush()


if __name__ == "__main__":
    main()
