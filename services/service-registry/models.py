"""The registry's requests and answers."""

import ipaddress
import re
from typing import Annotated, Literal

from cnet_service.models import Message
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, RootModel

LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"  # one label of a DNS name (RFC 1123, section 2.1)
MAX_PORT = 65535
MAX_TTL_SECONDS = 3600
MAX_WAIT_SECONDS = 60
NO_INDEX = -1


def check_label(label: str) -> str:
    """Return a text that can be a label in DNS; raise ValueError for any other."""
    if not re.fullmatch(LABEL, label):
        raise ValueError("must be 1 to 63 lower-case letters, digits and hyphens")
    return label


def check_ip(text: str) -> str:
    """Return a unicast address; raise ValueError for one that the registry cannot check (loopback, multicast)."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address") from None
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        raise ValueError("must be a unicast address that others can reach")
    return str(address)


def check_ip6(text: str) -> str:
    """Return a unicast IPv6 address; raise ValueError for any other text."""
    address = check_ip(text)
    if ":" not in address:
        raise ValueError("must be an IPv6 address")
    return address


def check_digits(text: object) -> object:
    """Return a number in digits; raise ValueError for other notations that Python accepts (`1_0`, `1e1`, `nan`)."""
    if isinstance(text, str) and not re.fullmatch(r"[0-9]{1,19}(\.[0-9]{1,3})?", text):
        raise ValueError("must be a number in digits")
    return text


Label = Annotated[str, AfterValidator(check_label), Field(json_schema_extra={"pattern": f"^{LABEL}$"})]


class Registration(Message):
    """An instance that registers."""

    name: Label
    ip: Annotated[
        str, AfterValidator(check_ip), Field(description="the caller's own address, unless `ip6` is")
    ]
    ip6: Annotated[str, AfterValidator(check_ip6)] = Field(
        "", description="a second address, IPv6, that the topology table gives to the same node"
    )
    port: int = Field(ge=1, le=MAX_PORT)
    instance_id: Label = Field("", description="NAME-IP-PORT if not given")
    ttl: float | None = Field(
        None, ge=1, le=MAX_TTL_SECONDS, description="the lease in seconds; without one only checks decide"
    )

    @property
    def id(self) -> str:
        """Return the id: the one given, else one made of name, address and port."""
        by_address = f"{self.name[:40]}-{self.ip.replace('.', '-').replace(':', '-')}-{self.port}"
        return self.instance_id or by_address[:63].strip("-")


class Registered(Message):
    """The registration was accepted."""

    service: str
    instance_id: str
    status: Literal["registered"] = "registered"


class Renewed(Message):
    """The lease was renewed."""

    status: Literal["renewed"] = "renewed"


class Deregistered(Message):
    """The instances were removed."""

    status: Literal["deregistered"] = "deregistered"


class Shown(Message):
    """An instance in the answer of /discover; `ip6` is there only if it has one."""

    ip: str
    ip6: str = ""
    port: int
    registered_at: str
    health: Literal["passing", "critical"]


class ShownInList(Shown):
    """An instance in a list of several."""

    instance_id: str


class Discovered(RootModel[Shown | list[ShownInList]]):
    """One instance, or with all=1 a list."""


class Services(RootModel[dict[str, list[ShownInList]]]):
    """All instances by name."""


class ServicePath(Message):
    """The path of a service."""

    name: str = Field(description="of a service")


class InstancePath(ServicePath):
    """The path of an instance."""

    instance_id: str = Field(description="of an instance")


class WaitQuery(BaseModel):
    """A request that can wait for a change."""

    model_config = ConfigDict(frozen=True)

    index: Annotated[int, BeforeValidator(check_digits)] = Field(
        NO_INDEX, ge=0, lt=2**63, description="X-Index of an earlier answer: wait until it changes"
    )
    wait: Annotated[float, BeforeValidator(check_digits)] = Field(
        10.0, ge=0, le=MAX_WAIT_SECONDS, description="wait at most so many seconds"
    )


class DiscoverQuery(WaitQuery):
    """A request for the instances of one service."""

    all: Literal["0", "1"] = Field("0", description="1 lists all instances")
