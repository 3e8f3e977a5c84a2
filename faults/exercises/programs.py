"""Behaviours of the programs: what customers get, which services are ready, what names resolve to."""

from __future__ import annotations

import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from faults.exercises.behaviour import Behaviour, Lab
from lab.services import read_programs
from lab.topology import Topology
from lab.verify.request import Answer, ItemCount, matches, send

_REQUEST_SECONDS = 1.5  # a customer waits no longer
_READS = 12  # each instance answers several of them
_ORDER = {"customer_id": "exercise", "product_id": "2", "quantity": 1, "total_price": 29.99}

# --- customers ------------------------------------------------------------------------------------------


def _way_in(topology: Topology) -> str:
    nginx = next(node for node in topology.nodes if node.publishes)
    return f"http://{topology.entry_host(nginx)}:{nginx.publishes[0].host_port}"


def customers_read(lab: Lab) -> Iterator[Behaviour]:
    """Read the catalogue through the published port, often enough to meet each instance."""
    url = f"{_way_in(lab.topology)}/api/products"
    answers = [_timed(url) for _ in range(_READS)]
    yield _all_good("customers read the catalogue at the published port", answers, {"products": ItemCount(3)})
    wanted = {node.name for node in lab.topology.nodes_running("product-service")}
    seen = {str(answer.json["instance"]) for answer, _ in answers if matches({"instance": str}, answer.json)}
    silent = ", ".join(sorted(wanted - seen))
    yield Behaviour(
        "each product instance answers customers", not silent, f"no answer from {silent}" if silent else ""
    )
    one, unknown = _timed(f"{url}/1"), _timed(f"{url}/99")
    yield _all_good("customers read one product", [one], {"name": "Laptop"})
    is_404 = unknown[0].status == 404  # noqa: PLR2004
    yield Behaviour("an unknown product is answered 404", is_404, "" if is_404 else str(unknown[0]))


def customers_order(lab: Lab) -> Iterator[Behaviour]:
    """Place orders, and read them back."""
    url = f"{_way_in(lab.topology)}/api/orders"
    created = [_timed(url, _ORDER) for _ in range(3)]
    yield _all_good("customers place orders", created, {"status": "created", "order_id": int}, status=201)
    numbers = [answer.json["order_id"] for answer, _ in created if matches({"order_id": int}, answer.json)]
    read = [_timed(f"{url}/{number}") for number in numbers]
    if read:
        yield _all_good("orders are read back", read, _ORDER)
    else:
        yield Behaviour("orders are read back", works=False, detail="no order was created")


def _timed(url: str, json: dict[str, object] | None = None) -> tuple[Answer, float]:
    begin = time.monotonic()
    return send(url, seconds=_REQUEST_SECONDS, json=json), time.monotonic() - begin


def _all_good(
    name: str, answers: list[tuple[Answer, float]], expected: object, status: int = 200
) -> Behaviour:
    bad = [one for one, _ in answers if one.status != status or not matches(expected, one.json)]
    detail = f"{len(bad)} of {len(answers)}: {_short(bad[0])}" if bad else ""
    return Behaviour(name, not bad, detail)


def _short(answer: Answer) -> str:
    if answer.status is None:
        return f"no answer within {_REQUEST_SECONDS:g} s"
    return " ".join(str(answer).split())[:90]


# --- programs -------------------------------------------------------------------------------------------


def services_are_ready(lab: Lab) -> Iterator[Behaviour]:
    """Ask each service whether it is ready, without a degraded dependency."""
    programs = read_programs(lab.topology)
    for node in lab.topology.nodes:
        if not node.runs or programs[node.runs].ready != "/ready":
            continue
        answer = send(f"http://{node.address.ip}:{node.listens[0].port}/ready", seconds=_REQUEST_SECONDS / 2)
        is_ready = answer.status == 200 and "degraded" not in (answer.json or {})  # noqa: PLR2004
        yield Behaviour(f"{node.name} is ready", is_ready, "" if is_ready else _short(answer))


def programs_keep_running(lab: Lab) -> Iterator[Behaviour]:
    """Look twice at each namespace's listening programs: the same ones must listen on the same ports."""
    before = _listeners(lab.topology)
    time.sleep(2)
    after = _listeners(lab.topology)
    for node in lab.topology.nodes:
        for listener in node.listens:
            key = (node.name, str(listener))
            same = bool(before[key]) and before[key] == after[key]
            detail = (
                "no program listens" if not after[key] else "the program was restarted" if not same else ""
            )
            yield Behaviour(f"{node.name} keeps listening on {listener}", same, detail)


def _listeners(topology: Topology) -> dict[tuple[str, str], str]:
    """Return for each node and port the oldest process that listens."""
    found: dict[tuple[str, str], str] = defaultdict(str)
    for node in topology.nodes:
        command = ["nsenter", f"--net=/run/netns/{node.namespace}", "ss", "-Hlntup"]
        output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        for line in output.splitlines():
            protocol, _, _, _, place, _, *users = line.split(maxsplit=6)
            address, _, port = place.rpartition(":")
            if address.partition("%")[0] in (str(node.address.ip), "0.0.0.0", "*"):  # noqa: S104 - as ss writes it
                pids = sorted(int(word.partition(",")[0]) for word in "".join(users).split("pid=")[1:])
                found[node.name, f"{port}/{protocol}"] = str(pids[0]) if pids else "?"
    return found


def names_resolve(lab: Lab) -> Iterator[Behaviour]:
    """Resolve the product service's name in each namespace, and a name that does not exist."""
    products = lab.topology.nodes_running("product-service")
    wanted = " ".join(sorted(str(node.address.ip) for node in products))
    namespaces = sorted({node.namespace for node in lab.topology.nodes})
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(_resolve_as_dns, namespaces, ["product-service.lab"] * len(namespaces)))
    for namespace, answer in zip(namespaces, answers, strict=True):
        detail = "" if answer == wanted else f"answer: {answer or 'none'}, wanted {wanted}"
        yield Behaviour(f"namespace {namespace} resolves product-service.lab", not detail, detail)
    nowhere = _resolve(namespaces[0], "nowhere.lab")
    yield Behaviour(
        "a name that does not exist does not resolve", not nowhere, nowhere and f"answer: {nowhere}"
    )


def _resolve_as_dns(namespace: str, name: str) -> str:
    """Resolve a name, and say if DNS alone gives another answer: a hosts file gives the addresses of today."""
    answer = _resolve(namespace, name)
    by_dns = _resolve(namespace, name, "--service=dns") if answer else ""
    return answer if answer == by_dns else f"{answer}, by DNS {by_dns or 'none'}"


def _resolve(namespace: str, name: str, *options: str) -> str:
    command = ["timeout", "3", "ip", "netns", "exec", namespace, "getent", *options, "ahostsv4", name]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return " ".join(sorted({line.split()[0] for line in output.splitlines() if line.strip()}))
