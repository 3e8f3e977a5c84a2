"""Whose turn it is: smooth weighted round-robin over the instances in rotation.

With equal weights it is plain round-robin. Weights differ during a slow start; the turns of a light
instance are spread among those of the others (the algorithm is that of nginx's upstreams).
"""

from collections.abc import Collection, Sequence

from instance import Instance


class Balancer:
    """Chooses among the instances that it is given at each turn."""

    def choose(self, instances: Sequence[Instance], tried: Collection[Instance] = ()) -> Instance | None:
        """Return the next instance, if possible one that was not tried; None when there are none.

        When none is healthy, what is known of their health is of no use, and all take part (panic mode).
        """
        healthy = [instance for instance in instances if instance.healthy] or list(instances)
        choice = [instance for instance in healthy if instance not in tried] or healthy
        if not choice:
            return None
        total = 0.0
        for instance in choice:
            weight = instance.weight
            instance.credit += weight
            total += weight
        chosen = max(choice, key=lambda instance: instance.credit)
        chosen.credit -= total
        return chosen
