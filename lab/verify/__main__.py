"""Try the platform's endpoints; print the results for scripts/lib/checks.sh.

python -m lab.verify lab                             each service of the topology table
python -m lab.verify docker GATEWAY REGISTRY WAY_IN  the platform in Docker, at these URLs
python -m lab.verify help

A line is a word, a text and for some a detail, with tabs between: `title`, `passed` or `failed`, `why` (the arguments
of `make explain`), `stored` (the number of an order that PostgreSQL must have); the last line is `end`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from lab.escape import on_one_line
from lab.topology import load
from lab.verify.platform import Endpoints, Result
from lab.verify.request import matches, send
from lab.verify.services import LabEndpoints

_INSTANCES = {"product-service": 2, "order-service": 1}  # instances in Docker


def docker(gateway: str, registry: str, published_url: str) -> Iterator[Result]:
    """Check the platform in Docker."""
    platform = Endpoints()
    yield "title", "Published ports"
    yield from platform.check_service_endpoints("api-gateway", gateway)
    yield from platform.check_service_endpoints("service-registry", registry)
    for program, wanted in _INSTANCES.items():
        answer = send(f"{registry}/discover/{program}?all=1")
        instances = answer.json if isinstance(answer.json, list) else []
        title = f"{wanted} of {program} registered and passing"
        if sum(matches({"health": "passing"}, instance) for instance in instances) == wanted:
            yield "passed", title
        else:
            yield "failed", title, f"got {answer}"
    yield "title", f"The platform at {published_url}"
    yield from platform.check_published_port(published_url)


def main(arguments: Sequence[str]) -> int:
    """Print the results; return 2 for bad usage."""
    match arguments:
        case ["lab"]:
            results = LabEndpoints(load()).check()
        case ["docker", gateway, registry, published_url]:
            results = docker(gateway, registry, published_url)
        case _:
            print(__doc__, file=sys.stdout if arguments == ["help"] else sys.stderr)
            return 0 if arguments == ["help"] else 2
    for result in results:
        print(*map(on_one_line, result), sep="\t", flush=True)
    print("end")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
