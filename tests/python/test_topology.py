"""The loader of topology tables: what it accepts, what it refuses and in which words, what bash gets of it."""

from __future__ import annotations

import contextlib
import fnmatch
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab import topology
from lab.topology import Listener, Publication, TopologyError, __main__
from lab.topology.reader import COLUMNS, OPTIONAL_COLUMNS
from security.policy.table import PolicyError
from security.policy.table import load as load_policy

ROOT = Path(__file__).parents[2]
FLAT = ROOT / "topology" / "flat.tsv"
COMMAND = [str(ROOT / "scripts" / "topology.sh")]
LOAD = [
    "bash",
    "-c",
    f'source {ROOT}/scripts/lib/topology.sh; load_table "$1"; echo "${{NODES[*]}}"',
    "load.sh",
]
SANDBOX = [str(ROOT / "scripts" / "sandbox.sh"), "run"]
PYTHON = [sys.executable, "-m", "lab.topology"]
REQUIRED = tuple(column for column in COLUMNS if column not in OPTIONAL_COLUMNS)

# A script that prints the table from its arrays.
PRINT = [
    "bash",
    "-c",
    f"""source {ROOT}/scripts/lib/topology.sh; load_table "$1"
    IFS=$'\\t'; echo "{" ".join(REQUIRED)}" | tr " " "\\t"
    for b in "${{BRIDGES[@]}}"; do row=(bridge "$b" - "${{ADDRESS[$b]}}" - - - - - -); echo "${{row[*]}}"; done
    for n in "${{NODES[@]}}"; do
      row=(node "$n" "${{NAMESPACE[$n]}}" "${{ADDRESS[$n]}}" "${{INTERFACE[$n]}}" "${{PORT[$n]}}" "${{BRIDGE[$n]}}")
      row+=("${{LISTENS[$n]}}" "${{PUBLISHES[$n]}}" "${{RUNS[$n]}}"); echo "${{row[*]}}"
    done""",
    "load.sh",
]

PATHS_REFUSED = [f"a{foreign}b.tsv".encode() for foreign in ("  ", *"\"'\\\n\t\r\x1b#%$`\x7f")] + [
    b"a\xffb.tsv"
]
PATHS_TAKEN = [
    "a b.tsv",
    "-x.tsv",
    "*.tsv",
    "[a].tsv",
    "a;b|c&(d)<e>!.tsv",
    "j\u00fcrgen.tsv",
    "~",
    "a=b,c:d@e",
]


class Verdict(NamedTuple):
    """What the loader said: its exit status, what it printed, and its refusal without its own name."""

    status: int
    output: str
    refusal: str


def run(command: list[str], *arguments: str, **options: Any) -> Verdict:
    ended = subprocess.run(
        [*command, *arguments],
        cwd=options.pop("cwd", ROOT),
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=30,
        check=False,
        **options,
    )
    return Verdict(ended.returncode, ended.stdout, without_program(ended.stderr))


def run_here(*arguments: str) -> Verdict:
    """Python's verdict, without the price of a process."""
    output, refusal = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(refusal):
        status = __main__.main(arguments)
    return Verdict(status, output.getvalue(), without_program(refusal.getvalue()))


def without_program(refusal: str) -> str:
    return re.sub(r"\A(load\.sh|topology\.(sh|py)): ", "", refusal)


def row(**fields: str) -> str:
    return "\t".join(fields[column] for column in REQUIRED)


NOTHING = dict.fromkeys(REQUIRED, "-")
HEADER = "\t".join(REQUIRED)


def bridge(name: str = "br0", address: str = "10.9.0.1/16", /, **fields: str) -> str:
    return row(**(NOTHING | {"kind": "bridge", "name": name, "address": address} | fields))


def node(number: int = 1, /, **fields: str) -> str:
    usual = {
        "kind": "node",
        "name": f"node-{number}",
        "namespace": f"ns-{number}",
        "address": f"10.9.{1 + number // 200}.{1 + number % 200}/16",
        "interface": f"veth{number}",
        "bridge_interface": f"veth{number}-br",
        "bridge": "br0",
        "listens": "80/tcp,53/udp",
    }
    return row(**(NOTHING | usual | fields))


def table(*lines: str) -> str:
    return "\n".join((HEADER, *lines)) + "\n"


def with_columns_shuffled(text: str) -> str:
    order = (7, 3, 9, 0, 5, 1, 8, 6, 2, 4)
    rows = (line.split("\t") for line in text.splitlines())
    return "".join("\t".join(fields[index] for index in order) + "\n" for fields in rows)


def with_comments(text: str) -> str:
    return "# Größe,\ttab and \x01 are free here  \r\n\n" + text.replace("\n", "\n\n#\n")


TWO_NODES = table(bridge(), node(1, publishes="8080:80/tcp,53:53/udp"), node(2, runs="redis"))
GOOD_TABLES = {
    "two nodes": TWO_NODES,
    "500 nodes": table(bridge(), *(node(n, publishes=f"{9000 + n}:80/tcp") for n in range(500))),
    "shuffled columns": with_columns_shuffled(TWO_NODES),
    "comments": with_comments(TWO_NODES),
    "two bridges, the last line first": table(
        node(1, bridge="br1", address="172.16.0.9/30"), bridge(), node(2), bridge("br1", "172.16.0.10/30")
    ),
    "aligned with several tabs": TWO_NODES.replace("\t", "\t\t\t"),
    "no line feed at the end": TWO_NODES.removesuffix("\n"),
    "a bridge alone": table(bridge()),
    "the longest names": table(bridge("b" * 15), node(name="n" * 63, namespace="s" * 63, bridge="b" * 15)),
    "both ends of a pair alike": table(bridge(), node(interface="same", bridge_interface="same")),
    "the widest and the narrowest network": table(bridge("a", "1.0.0.1/1"), bridge("b", "128.0.0.1/30")),
    "the first and the last port": table(bridge(), node(listens="1/tcp,65535/udp", publishes="65535:1/tcp")),
    "one number, two protocols": table(
        bridge(), node(listens="53/tcp,53/udp", publishes="53:53/tcp,53:53/udp")
    ),
    "every program": table(
        bridge(), node(1, runs="nginx"), node(2, runs="postgres"), node(3, runs="api-gateway")
    ),
}


@pytest.fixture
def table_file(tmp_path: Path) -> Path:
    return tmp_path / "table.tsv"


class TestGoodTables:
    """Each is printed as it is."""

    @pytest.mark.parametrize("text", GOOD_TABLES.values(), ids=GOOD_TABLES.keys())
    def test_bash_gets_every_value(self, text: str, table_file: Path) -> None:
        table_file.write_text(text, encoding="utf-8", newline="")
        dumped = run_here("dump", str(table_file))
        assert (dumped.status, dumped.refusal) == (0, "")
        assert run(PRINT, str(table_file)) == dumped

    @pytest.mark.parametrize(
        "how", ["shuffled columns", "comments", "aligned with several tabs", "no line feed at the end"]
    )
    def test_the_way_it_is_written_makes_no_difference(self, how: str, table_file: Path) -> None:
        table_file.write_text(GOOD_TABLES[how], encoding="utf-8", newline="")
        assert run_here("dump", str(table_file)) == Verdict(0, TWO_NODES, "")

    @pytest.mark.parametrize("path", sorted((ROOT / "topology").glob("*.tsv")), ids=lambda path: path.stem)
    def test_each_table_of_the_repository_is_taken(self, path: Path) -> None:
        assert (
            run(COMMAND, "dump", path.stem) == run(PYTHON, "dump", path.stem) == run_here("dump", str(path))
        )
        assert run_here("check", path.stem) == Verdict(0, "", "")

    def test_a_dump_is_a_table_and_dumps_as_itself(self, table_file: Path) -> None:
        dumped = run_here("dump", "flat").output
        table_file.write_text(dumped)
        assert run_here("dump", str(table_file)).output == dumped


LENGTHS = "is not an IPv4 address with a prefix length from 1 to 30"
NOT_A_HOST = "is the network's own or broadcast address, not a host's"
NOT_A_NAME = "is not a name: letters, digits, - and _, at most 63 characters"
NOT_AN_INTERFACE = "is not an interface name: letters, digits, - _ and ."
WHITE_SPACE = "a space or other white space; columns are separated by tabs alone"
NOT_ASCII = "neither a tab nor printable ASCII"
OF_THE_PROOFS = "is reserved for the outside namespace of the proofs"
NO_HOST = "is in 0/8, 127/8 or 224/3, which cannot be a host's address"
TOO_LONG = "has 16 characters, the kernel allows at most 15"
CARRIAGE_RETURN = "a carriage return; end lines in a line feed alone"
BOM = "a byte order mark; save the file without it"
UNKNOWN_COLUMN = f"unknown column; known are {' '.join(COLUMNS)}"
NO_PROGRAM = "is not a folder of services/ with a service.toml"

Case = tuple[str | bytes, str]


def one(**fields: str) -> str:
    """A bridge and one node, the node in line 3."""
    return table(bridge(), node(**fields))


def two(**fields: str) -> str:
    """A bridge and two nodes, the second, which has the fault, in line 4."""
    return table(bridge(), node(1, publishes="8080:80/tcp"), node(2, **fields))


MALFORMED: dict[str, Case] = {
    # the file
    "empty file": ("", "1: kind: the table has no header line"),
    "comments alone": ("# one\n\n# two", "3: kind: the table has no header line"),
    "header alone": (HEADER + "\n", "1: kind: the table has no bridge"),
    "header without line feed": (HEADER, "1: kind: the table has no bridge"),
    "no bridge": (table(node()), "2: kind: the table has no bridge"),
    "CRLF": (TWO_NODES.replace("\n", "\r\n"), f"1: character {len(HEADER) + 1}: {CARRIAGE_RETURN}"),
    "byte order mark": (b"\xef\xbb\xbf" + TWO_NODES.encode(), f"1: character 1: {BOM}"),
    "byte order mark before a comment": (b"\xef\xbb\xbf# x\n" + TWO_NODES.encode(), f"1: character 1: {BOM}"),
    "NUL byte": (b"# \xc3\xa9\0\n" + TWO_NODES.encode(), "1: byte 5: a NUL byte; a table is plain text"),
    "NUL byte behind another fault": (
        HEADER.encode() + b"\n x\n\0",
        "3: byte 1: a NUL byte; a table is plain text",
    ),
    "UTF-16": (TWO_NODES.encode("utf-16-le"), "1: byte 2: a NUL byte; a table is plain text"),
    "Latin-1": (one(name="caf\xe9").encode("latin-1"), f"3: character 9: {NOT_ASCII}"),
    "UTF-8": (one(name="café"), f"3: character 9: {NOT_ASCII}"),
    "no-break space": (one(name="a\xa0b"), f"3: character 7: {NOT_ASCII}"),
    "control character": (one(name="a\x01b"), f"3: character 7: {NOT_ASCII}"),
    "delete character": (one(name="a\x7fb"), f"3: character 7: {NOT_ASCII}"),
    # white space
    "space": (one(name="a b"), f"3: character 7: {WHITE_SPACE}"),
    "space for a tab": (table("bridge br0"), f"2: character 7: {WHITE_SPACE}"),
    "space at the end": (table(bridge() + " "), f"2: character {len(bridge()) + 1}: {WHITE_SPACE}"),
    "space before a comment": (table(" # x"), f"2: character 1: {WHITE_SPACE}"),
    "vertical tab": (one(name="a\vb"), f"3: character 7: {WHITE_SPACE}"),
    "form feed": (one(name="a\fb"), f"3: character 7: {WHITE_SPACE}"),
    "leading tab": (table("\t" + bridge()), "2: character 1: a tab at the beginning of the line"),
    "trailing tab": (
        table(bridge() + "\t"),
        f"2: character {len(bridge()) + 1}: a tab at the end of the line",
    ),
    "tab alone": (table("\t"), "2: character 1: a tab at the beginning of the line"),
    # the header
    "unknown column": (HEADER.replace("runs", "walks"), f"1: walks: {UNKNOWN_COLUMN}"),
    "a glob for a column": (HEADER.replace("runs", "*"), f"1: *: {UNKNOWN_COLUMN}"),
    "two names as one column": (HEADER.replace("runs", "kind-name"), f"1: kind-name: {UNKNOWN_COLUMN}"),
    "missing column": (HEADER.removesuffix("\truns"), "1: runs: the column is missing from the header line"),
    "column twice": (HEADER + "\tname", '1: name: "name" is already used in line 1'),
    "no header": (bridge(), f"1: br0: {UNKNOWN_COLUMN}"),
    # a row's shape
    "too few columns": (
        table(bridge().removesuffix("\t-")),
        "2: column 9: the line has 9 columns, the header 10",
    ),
    "too many columns": (table(bridge() + "\t-"), "2: column 11: the line has 11 columns, the header 10"),
    "unknown kind": (one(kind="router"), '3: kind: "router" is neither bridge nor node'),
    "kind in capitals": (one(kind="Node"), '3: kind: "Node" is neither bridge nor node'),
    "the header again": (table(bridge(), HEADER), '3: kind: "kind" is neither bridge nor node'),
    # used twice
    "duplicate name": (two(name="node-1"), '4: name: "node-1" is already used in line 3'),
    "name of a bridge": (one(name="br0"), '3: name: "br0" is already used in line 2'),
    "duplicate address": (two(address="10.9.1.2/16"), '4: address: "10.9.1.2" is already used in line 3'),
    "duplicate address, other length": (
        two(address="10.9.1.2/8"),
        '4: address: "10.9.1.2" is already used in line 3',
    ),
    "address of the bridge": (one(address="10.9.0.1/16"), '3: address: "10.9.0.1" is already used in line 2'),
    "duplicate namespace": (two(namespace="ns-1"), '4: namespace: "ns-1" is already used in line 3'),
    "duplicate bridge_interface": (
        two(bridge_interface="veth1-br"),
        '4: bridge_interface: "veth1-br" is already used in line 3',
    ),
    "bridge_interface named as the bridge": (
        one(bridge_interface="br0"),
        '3: bridge_interface: "br0" is already used in line 2',
    ),
    "bridge named as a bridge_interface": (
        table(bridge(), node(), bridge("veth1-br", "10.8.0.1/16")),
        '4: name: "veth1-br" is already used in line 3',
    ),
    "host port twice": (two(publishes="8080:80/tcp"), '4: publishes: "8080/tcp" is already used in line 3'),
    "host port twice in one node": (
        one(publishes="1:80/tcp,1:80/tcp"),
        '3: publishes: "1/tcp" is already used in line 3',
    ),
    "port listened on twice": (
        one(listens="80/tcp,80/tcp"),
        '3: listens: "80/tcp" is already used in line 3',
    ),
    # names
    "name of a dot": (one(name="."), f'3: name: "." {NOT_A_NAME}'),
    "name of two dots": (one(name=".."), f'3: name: ".." {NOT_A_NAME}'),
    "name with a dash in front": (one(name="-x"), f'3: name: "-x" {NOT_A_NAME}'),
    "name as a path": (one(name="a/b"), f'3: name: "a/b" {NOT_A_NAME}'),
    "name as a glob": (one(name="*"), f'3: name: "*" {NOT_A_NAME}'),
    "name as a command": (one(name="$(id)`id`"), f'3: name: "$(id)`id`" {NOT_A_NAME}'),
    "name with brackets and quotes": (one(name="a]b['\"\\"), f'3: name: "a]b[\'"\\" {NOT_A_NAME}'),
    "name of 64 characters": (one(name="n" * 64), f'3: name: "{"n" * 64}" {NOT_A_NAME}'),
    "kept name host": (one(name="host"), '3: name: "host" is reserved for destinations outside the lab'),
    "kept name world": (one(name="world"), '3: name: "world" is reserved for destinations outside the lab'),
    "kept name any": (one(name="any"), '3: name: "any" is reserved for destinations outside the lab'),
    "no namespace": (one(namespace="-"), f'3: namespace: "-" {NOT_A_NAME}'),
    "namespace of a dot": (one(namespace="."), f'3: namespace: "." {NOT_A_NAME}'),
    "namespace of two dots": (one(namespace=".."), f'3: namespace: ".." {NOT_A_NAME}'),
    # interfaces
    "interface of 16 characters": (one(interface="i" * 16), f'3: interface: "{"i" * 16}" {TOO_LONG}'),
    "bridge_interface of 16 characters": (
        one(bridge_interface="i" * 16),
        f'3: bridge_interface: "{"i" * 16}" {TOO_LONG}',
    ),
    "bridge of 16 characters": (table(bridge("b" * 16)), f'2: name: "{"b" * 16}" {TOO_LONG}'),
    "no interface": (one(interface="-"), f'3: interface: "-" {NOT_AN_INTERFACE}'),
    "no bridge_interface": (one(bridge_interface="-"), f'3: bridge_interface: "-" {NOT_AN_INTERFACE}'),
    "interface with a colon": (one(interface="eth0:1"), f'3: interface: "eth0:1" {NOT_AN_INTERFACE}'),
    "interface of a dot": (one(interface="."), f'3: interface: "." {NOT_AN_INTERFACE}'),
    "bridge with a slash": (table(bridge("b/r")), f'2: name: "b/r" {NOT_AN_INTERFACE}'),
    "interface lo": (one(interface="lo"), '3: interface: "lo" is reserved by the kernel'),
    "bridge_interface all": (
        one(bridge_interface="all"),
        '3: bridge_interface: "all" is reserved by the kernel',
    ),
    "bridge default": (table(bridge("default")), '2: name: "default" is reserved by the kernel'),
    "namespace of the proofs": (
        one(namespace="cnet-outside"),
        f'3: namespace: "cnet-outside" {OF_THE_PROOFS}',
    ),
    "interface of the proofs": (
        one(bridge_interface="cnet-outside"),
        f'3: bridge_interface: "cnet-outside" {OF_THE_PROOFS}',
    ),
    "bridge of the proofs": (table(bridge("cnet-outside")), f'2: name: "cnet-outside" {OF_THE_PROOFS}'),
    # addresses
    "address of this network": (one(address="0.9.0.2/16"), f"3: address: 0.9.0.2/16 {NO_HOST}"),
    "loopback address": (one(address="127.9.0.2/16"), f"3: address: 127.9.0.2/16 {NO_HOST}"),
    "multicast address": (one(address="224.0.0.2/16"), f"3: address: 224.0.0.2/16 {NO_HOST}"),
    "reserved address": (one(address="240.0.0.2/16"), f"3: address: 240.0.0.2/16 {NO_HOST}"),
    "broadcast of all": (one(address="255.255.255.254/16"), f"3: address: 255.255.255.254/16 {NO_HOST}"),
    "network of the proofs": (
        one(address="198.51.100.129/25"),
        "3: address: 198.51.100.129/25 overlaps with 198.51.100.0/24, the outside network of the proofs"
        " (TEST-NET-2, RFC 5737)",
    ),
    "no address": (one(address="-"), f'3: address: "-" {LENGTHS}'),
    "address without length": (one(address="10.9.0.2"), f'3: address: "10.9.0.2" {LENGTHS}'),
    "length alone": (one(address="/16"), f'3: address: "/16" {LENGTHS}'),
    "two lengths": (one(address="10.9.0.2/16/16"), f'3: address: "10.9.0.2/16/16" {LENGTHS}'),
    "length 0": (one(address="10.9.0.2/0"), f'3: address: "10.9.0.2/0" {LENGTHS}'),
    "length 31": (one(address="10.9.0.2/31"), f'3: address: "10.9.0.2/31" {LENGTHS}'),
    "length with a leading zero": (one(address="10.9.0.2/016"), f'3: address: "10.9.0.2/016" {LENGTHS}'),
    "octet with a leading zero": (one(address="10.9.0.010/16"), f'3: address: "10.9.0.010/16" {LENGTHS}'),
    "octet that is no octal number": (one(address="10.9.0.08/16"), f'3: address: "10.9.0.08/16" {LENGTHS}'),
    "octet 256": (one(address="10.9.0.256/16"), f'3: address: "10.9.0.256/16" {LENGTHS}'),
    "huge octet": (one(address=f"10.9.0.{2**64}/16"), f'3: address: "10.9.0.{2**64}/16" {LENGTHS}'),
    "three octets": (one(address="10.9.2/16"), f'3: address: "10.9.2/16" {LENGTHS}'),
    "five octets": (one(address="10.9.0.2.3/16"), f'3: address: "10.9.0.2.3/16" {LENGTHS}'),
    "IPv6": (one(address="fd00::2/64"), f'3: address: "fd00::2/64" {LENGTHS}'),
    "address as a glob": (one(address="10.9.0.*/16"), f'3: address: "10.9.0.*/16" {LENGTHS}'),
    "address of a bridge malformed": (table(bridge("br0", "10.9.0.1")), f'2: address: "10.9.0.1" {LENGTHS}'),
    "network's address": (one(address="10.9.0.0/16"), f"3: address: 10.9.0.0/16 {NOT_A_HOST}"),
    "broadcast address": (one(address="10.9.255.255/16"), f"3: address: 10.9.255.255/16 {NOT_A_HOST}"),
    "bridge at its network's address": (
        table(bridge("br0", "10.9.0.4/30")),
        f"2: address: 10.9.0.4/30 {NOT_A_HOST}",
    ),
    "outside its bridge": (
        one(address="10.8.0.2/16"),
        "3: address: 10.8.0.2/16 is outside 10.9.0.1/16 of br0",
    ),
    "other prefix length": (
        one(address="10.9.0.2/24"),
        "3: address: 10.9.0.2/24 has another prefix length than 10.9.0.1/16 of br0",
    ),
    "bridges overlap": (
        table(bridge(), bridge("br1", "10.9.5.1/24")),
        "3: address: 10.9.5.1/24 overlaps with 10.9.0.1/16 of br0",
    ),
    "bridges overlap, wider later": (
        table(bridge(), bridge("br1", "10.1.0.1/8")),
        "3: address: 10.1.0.1/8 overlaps with 10.9.0.1/16 of br0",
    ),
    # bridges
    **{
        f"bridge with {column}": (table(bridge(**{column: "x"})), f"2: {column}: a bridge has none, write -")
        for column in ("namespace", "interface", "bridge_interface", "bridge", "listens", "publishes", "runs")
    },
    "unknown bridge": (one(bridge="br9"), '3: bridge: there is no bridge "br9" in the table'),
    "no bridge named": (one(bridge="-"), f'3: bridge: "-" {NOT_AN_INTERFACE}'),
    "node for a bridge": (two(bridge="node-1"), '4: bridge: there is no bridge "node-1" in the table'),
    "fault of the first node is told, not the last's": (
        table(bridge(), node(1, bridge="x"), node(2, bridge="y")),
        '3: bridge: there is no bridge "x" in the table',
    ),
    # ports
    "port without protocol": (one(listens="80"), '3: listens: "80" is not PORT/tcp or PORT/udp'),
    "protocol without port": (one(listens="tcp"), '3: listens: "tcp" is not PORT/tcp or PORT/udp'),
    "unknown protocol": (one(listens="80/sctp"), '3: listens: "80/sctp" is not PORT/tcp or PORT/udp'),
    "none and a port": (one(listens="-,80/tcp"), '3: listens: "-" is not PORT/tcp or PORT/udp'),
    "empty port": (one(listens="/tcp"), '3: listens: "" is not a port from 1 to 65535'),
    "port 0": (one(listens="0/tcp"), '3: listens: "0" is not a port from 1 to 65535'),
    "port 65536": (one(listens="80/tcp,65536/udp"), '3: listens: "65536" is not a port from 1 to 65535'),
    "huge port": (
        one(listens=f"{2**64 + 80}/tcp"),
        f'3: listens: "{2**64 + 80}" is not a port from 1 to 65535',
    ),
    "port with a leading zero": (one(listens="080/tcp"), '3: listens: "080" is not a port from 1 to 65535'),
    "negative port": (one(listens="-80/tcp"), '3: listens: "-80" is not a port from 1 to 65535'),
    "port as arithmetic": (
        one(listens="a[$(id>&2)]/tcp"),
        '3: listens: "a[$(id>&2)]" is not a port from 1 to 65535',
    ),
    "port range": (one(listens="1-9/tcp"), '3: listens: "1-9" is not a port from 1 to 65535'),
    "comma in front": (one(listens=",80/tcp"), '3: listens: ",80/tcp" has an empty item'),
    "comma at the end": (one(listens="80/tcp,"), '3: listens: "80/tcp," has an empty item'),
    "two commas": (one(listens="80/tcp,,81/tcp"), '3: listens: "80/tcp,,81/tcp" has an empty item'),
    "comma alone": (one(listens=","), '3: listens: "," has an empty item'),
    "published comma": (one(publishes="1:80/tcp,"), '3: publishes: "1:80/tcp," has an empty item'),
    "published two commas": (
        one(publishes="1:80/tcp,,2:80/tcp"),
        '3: publishes: "1:80/tcp,,2:80/tcp" has an empty item',
    ),
    "published without host port": (
        one(publishes="80/tcp"),
        '3: publishes: "80/tcp" is not HOST_PORT:PORT/protocol',
    ),
    "published without protocol": (
        one(publishes="1:80"),
        '3: publishes: "1:80" is not HOST_PORT:PORT/protocol',
    ),
    "published on port 0": (one(publishes="0:80/tcp"), '3: publishes: "0" is not a port from 1 to 65535'),
    "published on a huge port": (
        one(publishes="99999:80/tcp"),
        '3: publishes: "99999" is not a port from 1 to 65535',
    ),
    "published on an address": (
        one(publishes="127.0.0.1:1:80/tcp"),
        '3: publishes: "127.0.0.1" is not a port from 1 to 65535',
    ),
    "published, not listened on": (
        one(publishes="1:81/tcp"),
        "3: publishes: the node does not listen on 81/tcp",
    ),
    "published, other protocol": (
        one(publishes="1:80/udp"),
        "3: publishes: the node does not listen on 80/udp",
    ),
    "published, a glob": (one(publishes="1:*/tcp"), "3: publishes: the node does not listen on */tcp"),
    "published, nothing listened on": (
        one(listens="-", publishes="1:80/tcp"),
        "3: publishes: the node does not listen on 80/tcp",
    ),
    # programs
    "unknown program": (one(runs="apache"), f'3: runs: "apache" {NO_PROGRAM}'),
    "program of a path": (
        one(runs="../services/api-gateway"),
        f'3: runs: "../services/api-gateway" {NO_PROGRAM}',
    ),
    "program of a dot": (one(runs="."), f'3: runs: "." {NO_PROGRAM}'),
    "program in capitals": (one(runs="Nginx"), f'3: runs: "Nginx" {NO_PROGRAM}'),
    "program as a glob": (one(runs="api-*"), f'3: runs: "api-*" {NO_PROGRAM}'),
}


class TestMalformedTables:
    """Each is refused by file, line, column and reason."""

    @pytest.mark.parametrize(("content", "refusal"), MALFORMED.values(), ids=MALFORMED.keys())
    def test_it_is_refused(self, content: str | bytes, refusal: str, table_file: Path) -> None:
        table_file.write_bytes(content if isinstance(content, bytes) else content.encode())
        assert run_here("check", str(table_file)) == Verdict(1, "", f"{table_file}:{refusal}\n")

    @pytest.mark.parametrize("name", ["NUL byte", "Latin-1", "port as arithmetic", "name as a command"])
    def test_a_script_ends_with_the_refusal_and_status_1(self, name: str, table_file: Path) -> None:
        content, refusal = MALFORMED[name]
        table_file.write_bytes(content if isinstance(content, bytes) else content.encode())
        assert run(LOAD, str(table_file)) == Verdict(1, "", f"{table_file}:{refusal}\n")

    def test_the_error_is_the_line_that_is_printed(self, table_file: Path) -> None:
        table_file.write_text(one(bridge="br9"))
        with pytest.raises(TopologyError) as caught:
            topology.load(table_file)
        assert str(caught.value) == f'{table_file}:3: bridge: there is no bridge "br9" in the table'

    def test_each_program_says_its_own_name(self, table_file: Path) -> None:
        for command, name in ((LOAD, "load.sh"), ([*PYTHON, "check"], "topology.py")):
            ended = subprocess.run(
                [*command, table_file], cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert ended.stderr.startswith(f"{name}: {table_file}: no such table; topology/ has ")
            assert (ended.returncode, ended.stdout) == (1, "")


@pytest.fixture
def sandbox() -> None:
    refused = run(SANDBOX, "true").refusal
    if refused:
        pytest.skip(f"kernel: {refused}")


class TestWhichTable:
    """The one named, else TOPOLOGY, else the running lab's, else flat."""

    @pytest.mark.parametrize(
        "name",
        [
            ".",
            "..",
            "*",
            "-x",
            "-x.tsv",
            "a b",
            "nope",
            "/",
            "/etc/",
            "//nope.tsv",
            "/x/../nope",
            "a" * 300,
            "./flat.tsv",
        ],
    )
    def test_no_table_is_found_where_there_is_none(self, name: str) -> None:
        found = run_here("check", name)
        assert found.status == 1
        assert re.fullmatch(
            r"/.*: no such table; topology/ has .*flat\.tsv.*, or give a path: TOPOLOGY=my\.tsv\n",
            found.refusal,
        )

    @pytest.mark.parametrize("name", PATHS_REFUSED, ids=ascii)
    def test_a_path_that_another_language_would_change_is_refused(
        self, name: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        table = tmp_path / os.fsdecode(name)
        table.write_text(TWO_NODES)
        refused_here = run(PYTHON, "check", str(table))
        assert refused_here == run(LOAD, str(table))
        assert refused_here.status == 1
        assert re.fullmatch(
            r"/[^\n]*: (byte [0-9]+ of the path|the path is not UTF-8)[^\n]*rename it\n", refused_here.refusal
        )
        monkeypatch.setenv("POLICY", str(table))
        with pytest.raises(PolicyError) as refused:
            load_policy(topology.load(FLAT))
        assert f"{refused.value}\n" == refused_here.refusal

    @pytest.mark.parametrize("name", PATHS_TAKEN)
    def test_a_path_with_what_changes_nothing_is_taken(self, name: str, tmp_path: Path) -> None:
        table = tmp_path / name
        table.write_text(TWO_NODES)
        assert run(LOAD, str(table)) == Verdict(0, "node-1 node-2\n", "")

    def test_a_path_of_240_bytes_is_taken_and_one_of_241_is_refused(self, tmp_path: Path) -> None:
        begin = Path(f"{tmp_path}/" + "/".join(["\u00e9" * 20] * 3))  # two bytes each
        begin.mkdir(parents=True)
        for size, refusal in (
            (240, ""),
            (241, "the path has 241 bytes, a rule's comment holds 240; move it"),
        ):
            table = begin / ("x" * (size - len(os.fsencode(begin)) - 1))
            table.write_text(TWO_NODES)
            assert run_here("check", str(table)).refusal == (f"{table}: {refusal}\n" if refusal else "")

    @pytest.mark.parametrize(
        "name", ["flat", "topology/flat.tsv", "./topology/../topology/flat.tsv", f"{FLAT}/", str(FLAT)]
    )
    def test_flat_is_found(self, name: str) -> None:
        assert run(COMMAND, "dump", name) == run(PYTHON, "dump", name) == run_here("dump", str(FLAT))

    def test_the_environment_names_it_when_the_command_line_does_not(
        self, table_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        table_file.write_text(TWO_NODES)
        monkeypatch.setenv("TOPOLOGY", str(table_file))
        assert run(COMMAND, "dump") == run_here("dump") == Verdict(0, TWO_NODES, "")
        assert run(COMMAND, "dump", "flat") == run_here("dump", "flat") != run_here("dump")

    @pytest.mark.usefixtures("sandbox")
    def test_the_running_lab_names_it_by_its_bridges_alias(self, table_file: Path) -> None:
        table_file.write_text(TWO_NODES)
        for command in (COMMAND, PYTHON):
            assert run([*SANDBOX, "sh", "-c", LAB_FROM, "sh", str(table_file)], *command, "dump") == Verdict(
                0, TWO_NODES, ""
            )

    @pytest.mark.usefixtures("sandbox")
    def test_flat_when_no_lab_runs(self) -> None:
        for command in (COMMAND, PYTHON):
            assert run([*SANDBOX, "env", "-u", "TOPOLOGY", *command, "dump"]) == run_here("dump", "flat")

    def test_a_table_that_may_not_be_read_is_refused(self) -> None:
        nobody: dict[str, Any] = (
            {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        )
        with tempfile.TemporaryDirectory() as directory:
            unreadable = Path(directory, "table.tsv")
            unreadable.write_text(TWO_NODES)
            unreadable.chmod(0)
            Path(directory).chmod(0o755)
            for folder in ("scripts", "lab", "topology"):  # the checkout itself may be closed to others
                shutil.copytree(ROOT / folder, Path(directory, folder))
            command = [f"{directory}/scripts/topology.sh", "check"]
            refused = run(command, str(unreadable), cwd=directory, **nobody)
        assert refused.refusal.startswith(f"{unreadable}: no such table; ")


LAB_FROM = """
table=$1; shift; unset TOPOLOGY
ip link add br0 group 25955 type bridge && ip link set br0 alias "cnet $table" && exec "$@"
"""


class TestCommandLine:
    """Status 0, 1 and 2; help; a pipe whose reader leaves."""

    @pytest.mark.parametrize("arguments", [(), ("help",), ("",)], ids=str)
    def test_help_is_shown(self, arguments: tuple[str, ...]) -> None:
        for command in (COMMAND, PYTHON):
            shown = run(command, *arguments)
            assert (shown.status, shown.refusal) == (0, "")
            assert "dump [TABLE]" in shown.output

    @pytest.mark.parametrize("word", ["load", "--help", "-h"])
    def test_an_unknown_command_is_bad_usage(self, word: str) -> None:
        for command in (COMMAND, PYTHON):
            refused = run(command, word)
            assert (refused.status, refused.output) == (2, "")
            assert refused.refusal.startswith(f'unknown command "{word}"\n')
            assert "dump [TABLE]" in refused.refusal

    def test_neither_complains_when_the_reader_of_its_pipe_leaves(self) -> None:
        for command in (COMMAND, PYTHON):
            left = run(["bash", "-c", '"$@" | true', "bash"], *command, "dump", "flat")
            assert left == Verdict(0, "", "")


class TestMtu:
    """An optional column."""

    def with_mtus(self, *mtus: str) -> str:
        lines = (HEADER, bridge(), node(1), node(2))
        return "".join(f"{line}\t{mtu}\n" for line, mtu in zip(lines, ("mtu", "-", *mtus), strict=True))

    def test_a_node_has_its_own_or_none(self, table_file: Path) -> None:
        table_file.write_text(self.with_mtus("9000", "-"))
        assert [node.mtu for node in topology.load(table_file).nodes] == [9000, None]
        assert run_here("dump", str(table_file)).output == self.with_mtus("9000", "-")

    @pytest.mark.parametrize("mtu", ["1279", "65536", "0", "x", "09000"])
    def test_one_that_no_link_can_have_is_refused(self, mtu: str, table_file: Path) -> None:
        table_file.write_text(self.with_mtus(mtu, "-"))
        refusal = f'{table_file}:3: mtu: "{mtu}" is not an MTU from 1280 to 65535\n'
        assert run_here("check", str(table_file)) == Verdict(1, "", refusal)


class TestLookups:
    """What the other tools ask of a loaded table."""

    @pytest.fixture
    def flat(self) -> topology.Topology:
        return topology.load("flat")

    def test_a_node_is_found_by_name_address_and_namespace(self, flat: topology.Topology) -> None:
        product = flat.node("product-2")
        assert product is not None
        assert (
            product
            is flat.node_at("10.0.0.31")
            is flat.node_at(IPv4Address("10.0.0.31"))
            is flat.node_in("product2")
        )
        assert (product.address, product.runs) == (IPv4Interface("10.0.0.31/16"), "product-service")

    def test_what_is_not_there_is_none(self, flat: topology.Topology) -> None:
        assert flat.node("br-app") is flat.node_at("10.0.0.1") is flat.node_in("nope") is None
        assert flat.bridge("nginx-lb") is None

    def test_nodes_that_run_a_program_come_in_the_tables_order(self, flat: topology.Topology) -> None:
        assert [node.name for node in flat.nodes_running("product-service")] == [
            "product-1",
            "product-2",
            "product-3",
        ]
        assert flat.nodes_running("nope") == ()

    def test_ports_are_numbers_and_print_as_written(self, flat: topology.Topology) -> None:
        nginx = flat.node("nginx-lb")
        assert nginx is not None
        assert (nginx.listens, nginx.publishes) == ((Listener(80, "tcp"),), (Publication(8080, 80, "tcp"),))
        assert [str(port) for port in (*nginx.listens, *nginx.publishes)] == ["80/tcp", "8080:80/tcp"]

    def test_a_node_knows_its_line_and_its_bridge(self, flat: topology.Topology) -> None:
        lines = FLAT.read_text().splitlines()
        for node in flat.nodes:
            assert lines[node.line - 1].split()[1] == node.name
            assert flat.bridge_of(node) == flat.bridge("br-app")

    def test_nothing_can_be_changed(self, flat: topology.Topology) -> None:
        with pytest.raises(AttributeError):
            flat.nodes[0].name = "other"  # type: ignore[misc]  # what is tested is that it fails


WORDS = """- , . : # 0 08 255 65536 * ? ] [ " ' \\ $(id) ` @ é lo host /24 80/tcp 1:80/tcp 16-characters-it"""
BYTES = [b"\t", b"\n", b"\r", b" ", b"\0", b"\x01", b"\x7f", b"\xff", b"\xef\xbb\xbf"]
PIECES = WORDS.encode().split() + BYTES
ROWS = [line for line in FLAT.read_bytes().splitlines() if not line.startswith(b"#")]


@st.composite
def mutated_tables(draw: st.DrawFn) -> bytes:
    """Take flat.tsv and change it a few times."""
    rows = [line.split() for line in ROWS]
    for _ in range(draw(st.integers(0, 2))):
        rows = draw(tables_with_fields_moved(rows))
    content = b"\n".join(b"\t".join(fields) for fields in rows) + b"\n"
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(content)))
        removed = draw(st.integers(0, 3))
        content = content[:start] + draw(st.sampled_from([b"", *PIECES])) + content[start + removed :]
    return content


def tables_with_fields_moved(rows: list[list[bytes]]) -> st.SearchStrategy[list[list[bytes]]]:
    places = st.tuples(st.integers(0, len(rows) - 1), st.integers(0, len(REQUIRED) - 1))
    return st.builds(
        moved,
        st.just(rows),
        st.sampled_from(["swap", "copy", "again", "replace"]),
        places,
        places,
        st.sampled_from(PIECES),
    )


def moved(
    rows: list[list[bytes]], how: str, here: tuple[int, int], there: tuple[int, int], piece: bytes
) -> list[list[bytes]]:
    rows = [list(fields) for fields in rows]
    (row_here, field_here), (row_there, field_there) = here, there
    match how:
        case "again":
            rows.insert(row_there, list(rows[row_here]))
        case "replace":
            rows[row_here][field_here] = piece
        case "copy":
            rows[row_here][field_here] = rows[row_there][field_there]
        case _:
            rows[row_here][field_here], rows[row_there][field_there] = (
                rows[row_there][field_there],
                rows[row_here][field_here],
            )
    return rows


class TestAnyTable:
    """Whatever is in the file, it is taken or refused in one line."""

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(content=mutated_tables())
    def test_it_gets_one_verdict(self, content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
        path = tmp_path_factory.getbasetemp() / "mutated.tsv"
        path.write_bytes(content)
        verdict = run_here("dump", str(path))
        if verdict.status:
            assert verdict.status == 1
            assert re.fullmatch(rf"{re.escape(str(path))}:[1-9][0-9]*: [^\n]+: [^\n]+\n", verdict.refusal)


MAY_HAVE_ADDRESSES = [
    "topology/*",
    "docs/*",
    "tests/*",
    "security/*.tsv",
    "docker/kubernetes/*",  # only ranges of RFC 1918; tests/python/test_kubernetes.py looks there
    "README*",
    "*/README*",
    "CHANGELOG*",
    "CONTRIBUTING*",
]
LAB_ADDRESS = re.compile(rb"\b(10\.0\.0|172\.2[0-2]\.0)\.[0-9]+|\bfd00:cafe::[0-9a-f]")


def address_literals(directory: Path) -> Iterator[str]:
    """FILE:LINE of each address of the lab that stands outside the tables."""
    listed = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], cwd=directory, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (
            any(fnmatch.fnmatch(name, pattern) for pattern in MAY_HAVE_ADDRESSES)
            or not (directory / name).is_file()
        ):
            continue
        for number, line in enumerate((directory / name).read_bytes().split(b"\n"), start=1):
            if LAB_ADDRESS.search(line):
                yield f"{name}:{number}"


class TestAddresses:
    """The tables alone hold addresses."""

    def test_no_address_of_the_lab_stands_outside_the_tables(self) -> None:
        assert list(address_literals(ROOT)) == []

    def test_one_that_does_is_found(self, tmp_path: Path) -> None:
        subprocess.run(["git", "init", "-q", tmp_path], check=True)
        for name in ("README.md", "app.py", "topology/x.tsv", "security/policy.tsv", "security/policy.sh"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("110.0.0.1 10.0.1.1\nip = 172.21.0.5\nfd00:cafe::9/64 x\n")
        assert list(address_literals(tmp_path)) == [
            "app.py:2",
            "app.py:3",
            "security/policy.sh:2",
            "security/policy.sh:3",
        ]
