"""One behaviour of the lab, and what it is tried on."""

from __future__ import annotations

from dataclasses import dataclass

from lab.topology import Topology
from security.policy.model import Policy
from security.proof.probe import Outside


@dataclass(frozen=True, order=True)
class Behaviour:
    """One thing that must work, or must be refused."""

    name: str
    works: bool
    detail: str = ""  # what was seen, if it does not work


@dataclass(frozen=True)
class Lab:
    """What the behaviours are tried on."""

    topology: Topology
    policy: Policy | None
    outside: Outside
