"""The optional column address6 of topology tables: like address, for the second family."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab import topology
from lab.topology import TopologyError
from lab.topology.__main__ import dump

COLUMNS = "kind name namespace address interface bridge_interface bridge listens publishes runs address6"


def table(folder: Path, bridge: str, *nodes: str) -> Path:
    """Write a table whose bridge and nodes have these IPv6 addresses, and the same IPv4 addresses always."""
    rows = [COLUMNS, f"bridge br0 - 10.9.0.1/16 - - - - - - {bridge}"]
    rows += [
        f"node n{number} ns{number} 10.9.1.{number}/16 eth0 port{number} br0 - - - {address}"
        for number, address in enumerate(nodes, 1)
    ]
    path = folder / "table.tsv"
    path.write_text("".join(row.replace(" ", "\t") + "\n" for row in rows))
    return path


def test_a_node_has_its_own_or_none(tmp_path: Path) -> None:
    found = topology.load(table(tmp_path, "fd00::1/64", "fd00::a/64", "-"))
    assert [str(address) for address in found.bridges[0].addresses] == ["10.9.0.1/16", "fd00::1/64"]
    assert [str(node.address6) for node in found.nodes] == ["fd00::a/64", "None"]
    rows = [line.split("\t") for line in dump(found).splitlines()]
    assert [row[4] for row in rows] == ["address6", "fd00::1/64", "fd00::a/64", "-"]


def test_a_table_without_the_column_is_dumped_without_it() -> None:
    assert "address6" not in dump(topology.load("flat"))


@pytest.mark.parametrize(
    ("addresses", "line", "reason"),
    [
        (("fd00::1/64", "fd00::1/64"), 3, '"fd00::1" is already used in line 2'),
        (("fd00::1/64", "fd01::a/64"), 3, "fd01::a/64 is outside fd00::1/64 of br0"),
        (("fd00::1/64", "fd00::a/65"), 3, "fd00::a/65 has another prefix length than fd00::1/64 of br0"),
        (("-", "fd00::a/64"), 3, "bridge br0 has none, so fd00::a/64 would have no router"),
        (
            ("fd00:0::1/64",),
            2,
            '"fd00:0::1/64" is not an IPv6 address with a prefix length from 1 to 126, written as fd00::1/64',
        ),
        (("fd00::1/127",), 2, '"fd00::1/127" is not an IPv6 address with a prefix length from 1 to 126'),
        (("10.0.0.1/16",), 2, '"10.0.0.1/16" is not an IPv6 address with a prefix length from 1 to 126'),
        (("fd00::/64",), 2, "fd00::/64 is the anycast address of all routers (RFC 4291), not a host's"),
    ],
)
def test_one_that_does_not_fit_is_refused(
    addresses: tuple[str, ...], line: int, reason: str, tmp_path: Path
) -> None:
    path = table(tmp_path, *addresses)
    with pytest.raises(TopologyError, match=re.escape(f"{path}:{line}: address6: {reason}") + "$"):
        topology.load(path)


@pytest.mark.parametrize("address", ["fe80::1/64", "ff02::1/64", "::1/8", "::ffff:a00:1/96"])
def test_one_of_a_special_kind_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match=f"{address} is link-local, multicast, loopback, IPv4-mapped"):
        topology.load(table(tmp_path, address))
