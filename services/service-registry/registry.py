"""The instances of each name, their leases, and waiting for a change."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from cnet_service.errors import UnavailableError
from instances import PASSING, Instance
from owners import NotOwnerError, Owners
from store import Store

log = logging.getLogger("service")

DEREGISTER_AFTER_SECONDS = 3.0
MAX_INSTANCES = 1000
MAX_INSTANCES_OF_ADDRESS = 50


class RefusedError(Exception):
    """The name is configured, the id is in use, or too many instances are registered."""


class Registry:
    """The instances of each name. All methods are thread-safe.

    `index` grows with each change that clients can see, also across restarts.
    """

    def __init__(
        self,
        store: Store,
        configured: Iterable[Instance] = (),
        owners: Owners | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._owners = owners or Owners(None)
        self._clock = clock
        self._changed = threading.Condition()
        self._turns: dict[str, int] = {}
        self.index = int(time.time() * 1000)  # noqa: TID251  more than before a restart
        self._instances: dict[tuple[str, str], Instance] = {}
        for instance in (*filter(self._may_stay, store.load()), *configured):
            instance.renewed = (
                clock()
            )  # restart the leases, because no instance could renew while the registry was down
            self._instances[instance.name, instance.instance_id] = instance

    def _may_stay(self, instance: Instance) -> bool:
        """Return whether a stored registration is still allowed; the table may have changed."""
        try:
            self._owners.check(instance)
        except NotOwnerError as failure:
            log.warning("%s: %s is not restored: %s", instance.name, instance.instance_id, failure)
            return False
        except UnavailableError:
            pass  # The saved instance was allowed when it was registered.
        return True

    def register(self, instance: Instance) -> None:
        """Add an instance, or renew it; one with the same id at another address is replaced if it is critical.

        Raise NotOwnerError if the topology table gives its name or address to another node, else RefusedError.
        """
        key = instance.name, instance.instance_id
        with self._changed:
            known = self._instances.get(key)
            self._refuse_if_needed(instance, known)
            if known and known.has_same_place(instance):
                known.renewed = self._clock()
                known.answers = instance.answers
            else:
                instance.registered_at = datetime.now(UTC).isoformat(timespec="seconds")
                instance.renewed = self._clock()
                self._instances[key] = known = instance
                self._save()
                self._announce(f"{instance.name}: {instance.instance_id} registered")
            self._update_health(known)

    def check(self, instance: Instance) -> None:
        """Raise the error that `register` would raise."""
        with self._changed:
            known = self._instances.get((instance.name, instance.instance_id))
            self._refuse_if_needed(instance, known)

    def _refuse_if_needed(self, instance: Instance, known: Instance | None) -> None:
        if any(other.permanent and other.name == instance.name for other in self._instances.values()):
            raise RefusedError(f"{instance.name} is configured and cannot be registered")
        is_in_table = self._owners.check(instance)
        if known and not known.shares_address(instance) and known.health == PASSING:
            raise RefusedError(f"{instance.instance_id} is registered at {known.ip} and is passing")
        if known is None and not is_in_table:  # the limit does not apply to nodes of the table
            of_address = sum(instance.shares_address(other) for other in self._instances.values())
            if len(self._instances) >= MAX_INSTANCES or of_address >= MAX_INSTANCES_OF_ADDRESS:
                raise RefusedError("too many instances are registered")

    def renew(self, name: str, instance_id: str) -> bool:
        """Renew a lease; return whether the instance is known."""
        with self._changed:
            instance = self._instances.get((name, instance_id))
            if instance is None:
                return False
            instance.renewed = self._clock()
            self._update_health(instance)
            return True

    def deregister(self, instance: Instance) -> None:
        """Remove an instance."""
        with self._changed:
            self._remove(instance)

    def note_check(self, instance: Instance, answers: bool) -> None:
        """Record the result of an active check."""
        with self._changed:
            if self._instances.get((instance.name, instance.instance_id)) is instance:
                instance.answers = answers
                self._update_health(instance)

    def sweep(self) -> None:
        """Mark expired leases, remove instances that were critical for three seconds, save again after a failure."""
        with self._changed:
            if not self._store.can_write:
                self._save()
            for instance in list(self._instances.values()):
                self._update_health(instance)
                if instance.permanent or instance.critical_since is None:
                    continue
                if self._clock() - instance.critical_since >= DEREGISTER_AFTER_SECONDS:
                    self._remove(instance)

    def find(self, name: str, instance_id: str) -> Instance | None:
        """Return one instance."""
        return self._instances.get((name, instance_id))

    def instances(self, name: str | None = None) -> list[Instance]:
        """Return all instances, or those of a name, in the order of their ids."""
        with self._changed:
            return sorted(
                (known for known in self._instances.values() if name in (None, known.name)),
                key=lambda known: (known.name, known.instance_id),
            )

    def healthy(self, name: str) -> list[Instance]:
        """Return the passing instances of a name."""
        return [instance for instance in self.instances(name) if instance.health == PASSING]

    def choose(self, name: str) -> Instance | None:
        """Return the next healthy instance, round-robin; None if there is none."""
        choice = self.healthy(name)
        if not choice:
            return None
        with self._changed:
            turn = self._turns[name] = self._turns.get(name, -1) + 1
        return choice[turn % len(choice)]

    def wait(self, index: int, seconds: float) -> None:
        """Return when the index is not `index`, or after `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self.index != index, seconds)

    def _update_health(self, instance: Instance) -> None:
        if instance.update_health(self._clock()):
            self._announce(f"{instance.name}: {instance.instance_id} is {instance.health}")

    def _remove(self, instance: Instance) -> None:
        if self._instances.pop((instance.name, instance.instance_id), None):
            if not any(other.name == instance.name for other in self._instances.values()):
                self._turns.pop(instance.name, None)
            self._save()
            self._announce(f"{instance.name}: {instance.instance_id} deregistered")

    def _save(self) -> None:
        self._store.save(instance for instance in self._instances.values() if not instance.permanent)

    def _announce(self, what: str) -> None:
        self.index += 1
        self._changed.notify_all()
        log.info(what)
