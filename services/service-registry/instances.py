"""What the registry knows of one address of a service."""

from dataclasses import dataclass, field

PASSING, CRITICAL = "passing", "critical"


@dataclass
class Instance:
    """One address of a service. Times are of the monotonic clock, in seconds.

    `ttl` is its lease: without a heartbeat for so long it is critical; None when only checks tell.
    `permanent` ones are configured, not registered: they never leave.
    """

    name: str
    instance_id: str
    ip: str
    port: int
    registered_at: str
    ttl: float | None = None
    permanent: bool = False
    answers: bool = True  # what the last active check found
    renewed: float = 0.0
    critical_since: float | None = field(default=None)

    @property
    def reports(self) -> bool:
        """Tell whether it is configured and renews a lease: nobody but its clients may reach it."""
        return self.permanent and self.ttl is not None

    @property
    def health(self) -> str:
        """Return "passing" or "critical"."""
        return PASSING if self.critical_since is None else CRITICAL

    def shown(self) -> dict[str, object]:
        """Return what /discover shows of it."""
        return {
            "ip": self.ip,
            "port": self.port,
            "registered_at": self.registered_at,
            "health": self.health,
        }

    def shown_in_list(self) -> dict[str, object]:
        """Return what lists of several instances show of it."""
        return {"instance_id": self.instance_id, **self.shown()}

    def judge(self, now: float) -> bool:
        """Set its health from check and lease; return whether it changed."""
        expired = self.ttl is not None and now - self.renewed > self.ttl
        healthy = self.answers and not expired
        if healthy == (self.critical_since is None):
            return False
        self.critical_since = None if healthy else now
        return True
