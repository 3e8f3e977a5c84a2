"""The topology table: one loader for Python and, as `python3 -m lab.topology bash`, for the scripts."""

from __future__ import annotations

import os
from pathlib import Path

from lab.topology.model import Address, Bridge, Listener, Node, Publication, Topology, bracketed
from lab.topology.reader import OUTSIDE_NAMESPACE, ROOT, TopologyError, TopologyReader

__all__ = [
    "LINK_GROUP",
    "OUTSIDE_NAMESPACE",
    "ROOT",
    "Address",
    "Bridge",
    "Listener",
    "Node",
    "Publication",
    "Topology",
    "TopologyError",
    "base_table",
    "bracketed",
    "load",
    "own_table_command",
    "running_tables",
    "table_path",
]

LINK_GROUP = 25955  # marks a link as the lab's
_SCALED = Path("/run/cnet/scaled.tsv")


def load(name_or_path: str | Path = "") -> Topology:
    """Read the table that table_path() finds. Raises TopologyError."""
    path = table_path(name_or_path)
    if not os.path.isfile(path) or not os.access(path, os.R_OK):
        known = " ".join(sorted(table.name for table in (ROOT / "topology").glob("[!.]*.tsv")))
        raise TopologyError(f"{path}: no such table; topology/ has {known}, or give a path: TOPOLOGY=my.tsv")
    return TopologyReader(path).read()


def table_path(name_or_path: str | Path = "") -> Path:
    """Return the path of a table: the one named, else TOPOLOGY, else the running lab's, else flat."""
    table = str(name_or_path) or os.environ.get("TOPOLOGY") or next(iter(running_tables()), "flat")
    if "/" not in table and not table.endswith(".tsv"):
        table = f"{ROOT}/topology/{table}.tsv"
    return Path(os.path.realpath(table))


def base_table(path: Path) -> Path:
    """Return the table that a scaled copy was made from (its second line names it); else the table itself."""
    if path != _SCALED:
        return path
    with path.open(encoding="utf-8") as lines:
        next(lines)
        return Path(next(lines).removeprefix("# ").rstrip("\n"))


def running_tables() -> list[str]:
    """Return the tables of the running lab: each of its bridges has its table's path as alias, after `cnet `."""
    from lab import netlink  # noqa: PLC0415 - a table that is named needs no sockets

    aliases = netlink.bridge_aliases(LINK_GROUP)
    return [alias.removeprefix("cnet ") for alias in aliases if alias.startswith("cnet /")]


def own_table_command(path: Path, sed_script: str) -> str:
    """Return the commands that change a copy of a table, and bring it up with the same policy."""
    base = base_table(path)
    policy = Path(os.environ.get("POLICY") or f"{ROOT}/security/{base.name}")
    if len(policy.parts) == 1 and policy.suffix != ".tsv":
        policy = ROOT / "security" / f"{policy}.tsv"
    own = "my2.tsv" if base.name == "my.tsv" else "my.tsv"
    option = f" POLICY={_from_root(policy)}" if policy.exists() else ""
    return f"sed '{sed_script}' {_from_root(base)} >{own} && sudo make up TOPOLOGY={own}{option}"


def _from_root(path: Path) -> str:
    return str(path).removeprefix(f"{ROOT}/")
