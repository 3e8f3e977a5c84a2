"""An instance: one place of a service, its lease and its health."""

from dataclasses import dataclass, field

PASSING, CRITICAL = "passing", "critical"


@dataclass
class Instance:
    """One place of a service, at `ip` and perhaps `ip6`. Times are seconds of the monotonic clock.

    `ttl` is its lease: without a heartbeat for that long it is critical. With None only checks decide.
    A `permanent` instance is configured, not registered, and is never removed.
    """

    name: str
    instance_id: str
    ip: str
    port: int
    registered_at: str
    ttl: float | None = None
    permanent: bool = False
    answers: bool = True  # result of the registry's last check
    renewed: float = 0.0
    critical_since: float | None = field(default=None)
    ip6: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return the addresses of both families, IPv6 first."""
        return (self.ip6, self.ip) if self.ip6 else (self.ip,)

    def shares_address(self, other: "Instance") -> bool:
        """Return whether another instance has one of the addresses."""
        return not set(self.addresses).isdisjoint(other.addresses)

    def has_same_place(self, other: "Instance") -> bool:
        """Return whether another instance has the same addresses, port and lease."""
        return (self.addresses, self.port, self.ttl) == (other.addresses, other.port, other.ttl)

    @property
    def renews_configured_lease(self) -> bool:
        """Return whether the instance is configured and renews a lease; the registry cannot reach such an instance."""
        return self.permanent and self.ttl is not None

    @property
    def health(self) -> str:
        """Return "passing" or "critical"."""
        return PASSING if self.critical_since is None else CRITICAL

    def shown(self) -> dict[str, object]:
        """Return the instance's fields in the answer of /discover."""
        return {
            "ip": self.ip,
            **({"ip6": self.ip6} if self.ip6 else {}),
            "port": self.port,
            "registered_at": self.registered_at,
            "health": self.health,
        }

    def shown_in_list(self) -> dict[str, object]:
        """Return the instance's fields in a list of several instances."""
        return {"instance_id": self.instance_id, **self.shown()}

    def update_health(self, now: float) -> bool:
        """Set the health from check and lease; return whether it changed."""
        expired = self.ttl is not None and now - self.renewed > self.ttl
        healthy = self.answers and not expired
        if healthy == (self.critical_since is None):
            return False
        self.critical_since = None if healthy else now
        return True
