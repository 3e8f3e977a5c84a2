"""What differs between IPv4 and IPv6 in rules: data, so that each rule is written once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from lab.topology import Address, Bridge, Node

Owner = TypeVar("Owner", Bridge, Node)


class Family(NamedTuple):
    """One of the two families; the numbers of ICMP are message types."""

    version: int
    tool: str
    localhost: str
    loopback: str  # network of the host's own addresses
    alone: int  # prefix length of a single address
    client: int  # prefix length of what one client usually has
    destination: str  # of DNAT
    header: int  # bytes of an IP header without options
    icmp: str  # matches one type
    echo: tuple[int, int]  # request, reply
    length_above: str  # matches packets of {0} bytes and more, so of more than {1}
    unreachable: tuple[int, ...]  # errors that path MTU discovery and refusals need

    def addresses(self, of: Iterable[Owner]) -> Iterator[tuple[Owner, Address]]:
        """Yield the nodes or bridges that the table gives an address in this family, and the address."""
        for owner in of:
            for address in owner.addresses:
                if address.version == self.version:
                    yield owner, address


IPV4 = Family(
    version=4,
    tool="iptables",
    localhost="127.0.0.1",
    loopback="127.0.0.0/8",
    alone=32,
    client=32,
    destination="{}:{}",
    header=20,
    icmp="-p icmp -m icmp --icmp-type {}",
    echo=(8, 0),
    length_above="--length {0}:65535",
    unreachable=(3,),
)
IPV6 = Family(
    version=6,
    tool="ip6tables",
    localhost="::1",
    loopback="::1/128",
    alone=128,
    client=64,
    destination="[{}]:{}",
    header=40,
    icmp="-p ipv6-icmp -m icmp6 --icmpv6-type {}",
    echo=(128, 129),
    length_above="! --length 48:{1}",  # xt_length counts in 16 bits: 65,496 bytes and the header are 0
    unreachable=(1, 2),  # RFC 4443: destination unreachable, packet too big
)
FAMILIES = (IPV4, IPV6)
