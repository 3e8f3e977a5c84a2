"""Try what the lab must do, and what it must refuse: the behaviours by which an exercise is graded.

Each group of behaviours runs in a process of its own, at the same time: verify's deadline of a request is a signal, and
a signal is a process's. All of them together take under five seconds, also in a lab that is broken.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable

from faults.exercises.behaviour import Behaviour, Lab
from faults.exercises.packets import flows_are_as_in_policy, pings_pass
from faults.exercises.programs import (
    customers_order,
    customers_read,
    names_resolve,
    programs_keep_running,
    services_are_ready,
)

_GROUP_SECONDS = float(os.environ.get("CHECK_SECONDS", "4.5"))  # more on a busy machine

Group = Callable[[Lab], Iterable[Behaviour]]


def try_all(lab: Lab) -> list[Behaviour]:
    """Return all behaviours, in a fixed order; a group without an answer in time is one that does not work."""
    context = multiprocessing.get_context("fork")
    groups = [
        customers_read,
        customers_order,
        services_are_ready,
        names_resolve,
        pings_pass,
        programs_keep_running,
    ]
    groups += [flows_are_as_in_policy] if lab.policy else []
    with context.Pool(len(groups)) as pool:
        waiting = [(group, pool.apply_async(_list, (group, lab))) for group in groups]
        deadline = time.monotonic() + _GROUP_SECONDS
        found: list[Behaviour] = []
        for group, result in waiting:
            try:
                found += result.get(max(0.01, deadline - time.monotonic()))
            except multiprocessing.TimeoutError:
                name = group.__name__.replace("_", " ")
                found.append(Behaviour(name, works=False, detail=f"no answer within {_GROUP_SECONDS:g} s"))
        pool.terminate()
    return found


def _list(group: Group, lab: Lab) -> list[Behaviour]:
    """Return a group's behaviours; where the lab has no namespace or link for its sockets, one that does not work."""
    try:
        return list(group(lab))
    except OSError as error:
        return [Behaviour(group.__name__.replace("_", " "), works=False, detail=str(error))]
