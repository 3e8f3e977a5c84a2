"""What clients send and the environment says, read and checked field by field."""

import ipaddress
import re
from collections.abc import Mapping

from cnet_service.errors import InvalidError
from instances import Instance

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # of a name in DNS (RFC 1123, section 2.1)
MAX_PORT = 65535
MAX_TTL_SECONDS = 3600
MAX_WAIT_SECONDS = 60
MAX_INDEX = 2**63


def read_instance(body: Mapping[str, object]) -> Instance:
    """Return the instance that a registration speaks of."""
    unknown = sorted(body.keys() - {"name", "ip", "port", "instance_id", "ttl"})
    if unknown:
        raise InvalidError(unknown[0][:100], "is not a field of a registration")
    name, ip, port = read_label(body, "name"), read_ip(body), read_port(body)
    by_address = f"{name[:40]}-{ip.replace('.', '-').replace(':', '-')}-{port}"[:63].strip("-")
    instance_id = read_label(body, "instance_id") if "instance_id" in body else by_address
    return Instance(name, instance_id, ip, port, "", read_ttl(body))


def read_label(body: Mapping[str, object], field: str) -> str:
    """Return a name that can be one in DNS, too."""
    name = body.get(field)
    if not isinstance(name, str) or not LABEL.fullmatch(name):
        raise InvalidError(field, "must be 1 to 63 lower-case letters, digits and hyphens")
    return name


def read_ip(body: Mapping[str, object]) -> str:
    """Return a unicast address: the registry will call it, so it must not be the registry itself."""
    given = body.get("ip")
    try:
        address = ipaddress.ip_address(given if isinstance(given, str) else "")
    except ValueError:
        raise InvalidError("ip", "must be an IPv4 or IPv6 address") from None
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        raise InvalidError("ip", "must be a unicast address that others can reach")
    return str(address)


def read_port(body: Mapping[str, object]) -> int:
    """Return a TCP port."""
    port = body.get("port")
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= MAX_PORT:
        raise InvalidError("port", f"must be a whole number from 1 to {MAX_PORT}")
    return port


def read_ttl(body: Mapping[str, object]) -> float | None:
    """Return the lease in seconds, None without one."""
    ttl = body.get("ttl")
    if ttl is None:
        return None
    if not isinstance(ttl, int | float) or isinstance(ttl, bool) or not 1 <= ttl <= MAX_TTL_SECONDS:
        raise InvalidError("ttl", f"must be a number of seconds from 1 to {MAX_TTL_SECONDS}")
    return float(ttl)


def read_all(text: str) -> bool:
    """Return whether all instances are wanted."""
    if text not in ("0", "1"):
        raise InvalidError("all", "must be 0 or 1")
    return text == "1"


def read_index(text: str) -> int:
    """Return the index that a client knows."""
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) >= MAX_INDEX:
        raise InvalidError("index", "must be a whole number, as X-Index had it")
    return int(text)


def read_wait(text: str) -> float:
    """Return for how many seconds a client waits."""
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,3})?", text) or float(text) > MAX_WAIT_SECONDS:
        raise InvalidError("wait", f"must be a number of seconds from 0 to {MAX_WAIT_SECONDS}")
    return float(text)


def read_configured(text: str) -> list[Instance]:
    """Return the services of NAME=IP:PORT, comma-separated; each has one instance of its own name.

    NAME=IP:PORT/SECONDS is a store that only its clients may reach: it is not checked, it renews a lease.
    """
    configured = []
    for item in filter(None, text.split(",")):
        name, _, place = item.partition("=")
        address, _, ttl = place.partition("/")
        ip, _, port = address.rpartition(":")
        configured.append(
            Instance(name, name, ip, int(port), "", float(ttl) if ttl else None, permanent=True)
        )
    return configured
