"""Smooth weighted round-robin over the instances in rotation (the algorithm of nginx's upstreams).

With equal weights it is plain round-robin. Weights differ during a slow start; the turns of an instance with a
small weight are spread among those of the others.
"""

from collections.abc import Collection, Sequence

from instance import Instance


def choose(instances: Sequence[Instance], tried: Collection[Instance] = ()) -> Instance | None:
    """Return the next instance, preferably one that was not tried; None if there are none.

    If none is healthy, choose among all (panic mode): the health checks may be wrong.
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
