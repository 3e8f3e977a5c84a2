"""The zone lab. in DNS: answers from the registry's instances. This module uses no socket.

NAME.lab           A and AAAA: each healthy instance, SRV: its port and INSTANCE.NAME.lab
INSTANCE.NAME.lab  the same for one instance
_NAME._tcp.lab     SRV, as RFC 2782 writes it
PTR of an address  INSTANCE.NAME.lab
"""

import ipaddress
import random
import re
from collections.abc import Iterable

from dnslib import AAAA, NS, PTR, QTYPE, RCODE, RR, SOA, SRV, A, DNSRecord
from instances import PASSING, Instance
from registry import Registry

ORIGIN = "lab."
TTL_SECONDS = 1  # maximum age of a cached answer
REVERSE, REVERSE_IP6 = ".in-addr.arpa.", ".ip6.arpa."


class Zone:
    """Answers questions for lab. and for the registered addresses."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def answer(self, request: DNSRecord) -> DNSRecord | None:
        """Return the answer to a question, None if it is outside this zone."""
        name = str(request.q.qname).lower()
        if name.endswith((REVERSE, REVERSE_IP6)):
            return self._answer_reverse(request, name)
        if name != ORIGIN and not name.endswith("." + ORIGIN):
            return None
        reply = make_reply(request)
        if name == ORIGIN:
            self._add_apex(reply)
        else:
            self._add_instances(reply, name.removesuffix("." + ORIGIN).split("."))
        return reply

    def _add_apex(self, reply: DNSRecord) -> None:
        if is_requested(reply, QTYPE.SOA):
            reply.add_answer(make_soa())
        elif is_requested(reply, QTYPE.NS):
            reply.add_answer(make_record(ORIGIN, QTYPE.NS, NS(f"service-registry.{ORIGIN}")))
        else:
            reply.add_auth(make_soa())

    def _add_instances(self, reply: DNSRecord, labels: list[str]) -> None:
        known = self._find(labels)
        if not known:
            reply.header.rcode = RCODE.NXDOMAIN
        healthy = [instance for instance in known if instance.health == PASSING]
        random.shuffle(healthy)  # clients use the first address
        if labels[0].startswith("_"):
            add_services(reply, healthy)
        else:
            add_addresses(reply, healthy)
            add_services(reply, healthy)
        if not reply.rr:
            reply.add_auth(make_soa())  # the time that "no such name" may be cached (RFC 2308)

    def _find(self, labels: list[str]) -> list[Instance]:
        match labels:
            case [name]:
                return self._registry.instances(name)
            case [service, "_tcp"] if service.startswith("_"):
                return self._registry.instances(service[1:])
            case ["_tcp"]:
                return []
            case [instance_id, name]:
                found = self._registry.find(name, instance_id)
                return [found] if found else []
        return []

    def _answer_reverse(self, request: DNSRecord, name: str) -> DNSRecord | None:
        try:
            address = read_reverse(name)
        except ValueError:
            return None
        at_address = [instance for instance in self._registry.instances() if address in instance.addresses]
        if not at_address:
            return None
        reply = make_reply(request)
        if is_requested(reply, QTYPE.PTR):
            for instance in at_address:
                reply.add_answer(
                    RR(request.q.qname, QTYPE.PTR, rdata=PTR(full_name(instance)), ttl=TTL_SECONDS)
                )
        return reply


def read_reverse(name: str) -> str:
    """Return the address of a reverse name (RFC 1035, 3.5; RFC 3596, 2.5); raise ValueError for any other name."""
    if name.endswith(REVERSE):
        return str(ipaddress.IPv4Address(".".join(reversed(name.removesuffix(REVERSE).split(".")))))
    digits = "".join(reversed(name.removesuffix(REVERSE_IP6).split(".")))
    address = ipaddress.IPv6Address(":".join(re.findall("[0-9a-f]{4}", digits)))
    if f"{address.reverse_pointer}." != name:
        raise ValueError(f"{name} is not 32 hexadecimal digits separated by dots")
    return str(address)


def make_reply(request: DNSRecord) -> DNSRecord:
    """Return an empty authoritative answer with the question unchanged (upper and lower case)."""
    reply = request.reply(aa=1, ra=1)
    reply.header.ad = 0
    return reply


def is_requested(reply: DNSRecord, kind: int) -> bool:
    """Return whether the question asks for records of this type."""
    return reply.q.qtype in (kind, QTYPE.ANY)


def add_addresses(reply: DNSRecord, instances: Iterable[Instance]) -> None:
    """Add A and AAAA records."""
    for address in dict.fromkeys(address for instance in instances for address in instance.addresses):
        kind, data = address_data(address)
        if is_requested(reply, kind):
            reply.add_answer(RR(reply.q.qname, kind, rdata=data, ttl=TTL_SECONDS))


def add_services(reply: DNSRecord, instances: Iterable[Instance]) -> None:
    """Add SRV records (RFC 2782), all of one priority and weight, and the addresses of their targets."""
    if is_requested(reply, QTYPE.SRV):
        for instance in instances:
            name = full_name(instance)
            reply.add_answer(
                RR(reply.q.qname, QTYPE.SRV, rdata=SRV(0, 1, instance.port, name), ttl=TTL_SECONDS)
            )
            for address in instance.addresses:
                reply.add_ar(make_record(name, *address_data(address)))


def address_data(address: str) -> tuple[int, A | AAAA]:
    """Return the type and the data of an address's record."""
    return (QTYPE.AAAA, AAAA(address)) if ":" in address else (QTYPE.A, A(address))


def full_name(instance: Instance) -> str:
    """Return INSTANCE.NAME.lab."""
    return f"{instance.instance_id}.{instance.name}.{ORIGIN}"


def make_record(name: str, kind: int, data: object) -> RR:
    """Return a resource record of the zone."""
    return RR(name, kind, rdata=data, ttl=TTL_SECONDS)


def make_soa() -> RR:
    """Return the zone's SOA; the last number is the time to cache "no such name", in seconds."""
    times = (1, 60, 60, 60, TTL_SECONDS)  # serial, refresh, retry, expire, minimum
    return make_record(ORIGIN, QTYPE.SOA, SOA(f"service-registry.{ORIGIN}", f"nobody.{ORIGIN}", times))
