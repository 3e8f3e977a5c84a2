"""The policy table: what is refused and how, who decides, and what becomes of it as rules."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.conntrack import Connection, Tuple, connections
from lab.ruleset.iptables import parse
from lab.topology import Topology, load
from security.policy.compiler import compile_rules
from security.policy.model import DEFAULT, Policy
from security.policy.stale import as_arguments, stale_connections
from security.policy.table import COLUMNS, PolicyError
from security.policy.table import load as load_policy
from security.rules.matches import Packet
from security.rules.walk import Ruleset, Walk

GOOD = {
    "id": "a",
    "from": "order-service",
    "to": "postgres-db",
    "protocol": "tcp",
    "port": "5432",
    "rate": "-",
    "verdict": "accept",
    "reason": "why not",
}


def row(**changes: str) -> str:
    """Write a line of the table; `from_` and `id_` stand for what Python keeps."""
    named = {name.rstrip("_"): value for name, value in changes.items()}
    return "\t".join((GOOD | named)[column] for column in COLUMNS)


def limit(**changes: str) -> str:
    """Write a line that limits."""
    return row(
        **(
            {"id_": "many", "to": "any", "protocol": "any", "port": "-", "rate": "9", "verdict": "limit"}
            | changes
        )
    )


def table(*rows: str, header: str = "\t".join(COLUMNS)) -> str:
    return "\n".join((header, *rows)) + "\n"


REFUSED = {
    "an unknown column": (table(header="id\tcolour"), "1: colour: unknown column; known are id from to"),
    "a missing column": (table(header="id\tfrom"), "1: to: the column is missing from the header line"),
    "a NUL byte": (table(row())[:20] + "\0" + table(row()), "1: byte 21: a NUL byte"),
    "a carriage return": (table(row() + "\r"), "2: character"),
    "an unknown name": (table(row(from_="nobody")), '2: from: "nobody" is not a node, program or bridge'),
    "a bad id": (table(row(id_="A B")), '2: id: "A B" has a space'),
    "too long an id": (table(row(id_="x" * 19)), '2: id: "xxxxxxxxxxxxxxxxxxx" is not an id'),
    "a kept id": (table(row(id_="default")), '2: id: "default" is a built-in id'),
    "an id twice": (table(row(), row(port="1")), '3: id: "a" is already used in line 2'),
    "a bad protocol": (table(row(protocol="gre")), '2: protocol: "gre" is neither any'),
    "any and another": (table(row(protocol="any,tcp", port="-")), '2: protocol: "any,tcp" is neither any'),
    "ports of icmp": (
        table(row(protocol="icmp")),
        '2: port: only tcp and udp have ports; write - for "icmp"',
    ),
    "port 0": (table(row(port="0")), '2: port: "0" is not a port'),
    "port 65536": (table(row(port="65536")), '2: port: "65536" is not a port'),
    "a reversed range": (table(row(port="9:8")), '2: port: "9:8" is not a port'),
    "an empty item": (table(row(port="1,,2")), '2: port: "1,,2" has an empty item'),
    "a bad rate": (table(row(rate="fast")), '2: rate: "fast" is not COUNT/'),
    "a rate that drops": (
        table(row(rate="1/hour:1", verdict="drop")),
        "2: rate: a line that drops has no rate",
    ),
    "a bad verdict": (table(row(verdict="maybe")), '2: verdict: "maybe" is neither accept nor drop'),
    "a limit to somebody": (table(row(verdict="limit")), "2: to: a limit counts all connections of a node"),
    "a limit of a protocol": (table(limit(protocol="tcp")), "2: protocol: a limit counts all connections"),
    "a limit of a port": (
        table(limit(port="80")),
        "2: port: a limit counts all connections of a node, write -",
    ),
    "a limit of nothing": (table(limit(rate="-")), '2: rate: "-" is not a number of connections'),
    "a limit of none": (
        table(limit(rate="0")),
        '2: rate: "0" is not a number of connections from 1 to 999999',
    ),
    "a limit by time": (table(limit(rate="1/hour:1")), '2: rate: "1/hour:1" is not a number of connections'),
    "a limit of the world": (table(limit(from_="any")), "2: from: a limit is for nodes, not for host, world"),
    "a limit with an id of another": (table(row(), limit(id_="a")), '3: id: "a" is already used in line 2'),
    "a quote": (table(row(reason='a "b"')), "2: reason: has a quote or a backslash"),
    "a long reason": (table(row(reason="x" * 161)), "2: reason: has 161 characters"),
    "nothing of the lab": (
        table(row(from_="host", to="world")),
        "2: to: packets from host to world do not pass",
    ),
    "a shadowed line": (
        table(row(from_="br-app", port="-"), row(id_="b")),
        '3: id: "b" is shadowed by line 2 ("a"), no packet reaches it',
    ),
    "the same once more": (table(row(), row(id_="b", verdict="drop")), '3: id: "b" is shadowed by line 2'),
    "a contradiction": (
        table(row(port="1:10"), row(id_="b", port="5:15", verdict="drop")),
        '3: verdict: "b" contradicts line 2 ("a") in order-service -> postgres-db',
    ),
}


def read(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, topology: str = "flat") -> Policy:
    path = tmp_path / "policy.tsv"
    path.write_text(text)
    monkeypatch.setenv("POLICY", str(path))
    return load_policy(load(topology))


def shipped(name: str) -> Policy:
    topology = load(name)
    return load_policy(topology)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_right_is_refused_with_its_place(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, reason = REFUSED[name]
    with pytest.raises(PolicyError) as refused:
        read(text, tmp_path, monkeypatch)
    assert f"{tmp_path}/policy.tsv:{reason}" in str(refused.value)


def test_a_limit_counts_what_nodes_are_allowed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = read(table(row(), limit()), tmp_path, monkeypatch)
    assert policy.decide("order-service", "postgres-db", "tcp", 5432).id == "a"
    assert policy.reason_of("many") == "why not"
    rules = [rule for rule in compile_rules(policy, "") if "CNET-ALLOWED" in rule]
    counting = [rule for rule in rules if "-A CNET-ALLOWED" in rule]
    assert len(counting) == 1
    over = "-m connlimit --connlimit-above 9 --connlimit-mask 32 --connlimit-saddr -j CNET-DROP-many"
    assert counting[0].endswith(f"-s 10.0.0.40/32 {over}")
    assert [rule.split()[3] for rule in rules if rule not in counting] == ["CNET-TO-10.0.0.60"]
    without = read(table(row()), tmp_path, monkeypatch)
    assert not [rule for rule in compile_rules(without, "") if "CNET-ALLOWED" in rule]


def test_explain_counts_as_a_limit_does_and_names_what_it_cannot_count() -> None:
    def walked(matches: str, known: int) -> Walk:
        text = f"*security\n[0:0] -A FORWARD {matches} -j DROP\nCOMMIT\n"
        rules = Ruleset(parse(text), lambda _: False, open_connections=lambda _: known)
        return rules.hook("FORWARD", Packet("udp", "192.0.2.1", "192.0.2.2", 53))

    limited = "-m connlimit --connlimit-above 9 --connlimit-mask 32 --connlimit-saddr"
    assert [walked(limited, known).verdict for known in (8, 9)] == ["ACCEPT", "DROP"]
    assert not walked(limited, 9).uncertain
    for unknown in (
        limited.replace("32", "24"),
        limited.replace("saddr", "daddr"),
        limited.replace("above", "upto"),
    ):
        assert walked(unknown, 9).uncertain


def test_an_exception_before_its_rule_is_no_contradiction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = table(row(), row(id_="b", from_="br-app", port="-", verdict="drop"))
    policy = read(text, tmp_path, monkeypatch)
    assert policy.decide("order-service", "postgres-db", "tcp", 5432).id == "a"
    assert policy.decide("nginx-lb", "postgres-db", "tcp", 5432).id == "b"


@pytest.mark.parametrize(
    ("name", "flow", "decision"),
    [
        ("flat", ("order-service", "postgres-db", "tcp", 5432), "accept database"),
        ("flat", ("api-gateway", "postgres-db", "tcp", 5432), "drop database-closed"),
        ("flat", ("service-registry", "postgres-db", "tcp", 5432), "drop database-closed"),
        ("flat", ("product-2", "redis-cache", "tcp", 6379), "accept cache"),
        ("flat", ("product-3", "redis-cache", "tcp", 6379), "accept cache"),
        ("flat", ("order-service", "redis-cache", "tcp", 6379), "drop cache-closed"),
        ("flat", ("nginx-lb", "api-gateway", "tcp", 3000), "accept front"),
        ("flat", ("product-1", "api-gateway", "tcp", 3000), "accept gateway"),
        ("flat", ("redis-cache", "world", "tcp", 25), "drop default"),
        ("flat", ("redis-cache", "world", "tcp", 443), "accept web-out"),
        ("flat", ("redis-cache", "host", "tcp", 22), "drop default"),
        ("tiers", ("api-gateway", "postgres-db", "tcp", 5432), "drop tier-skipped"),
        ("tiers", ("nginx-lb", "redis-cache", "icmp", 0), "drop tier-skipped"),
        ("tiers", ("order-service", "postgres-db", "tcp", 5432), "accept database"),
        ("tiers", ("order-service", "postgres-db", "tcp", 22), "drop tier-closed"),
        ("tiers", ("redis-cache", "world", "tcp", 443), "drop default"),
    ],
)
def test_the_shipped_policies_decide_as_the_specification_wants(
    name: str, flow: tuple[str, str, str, int], decision: str
) -> None:
    found = shipped(name).decide(*flow)
    assert f"{found.verdict} {found.id}" == decision


names = st.sampled_from(
    ["br-app", "any", "host", "product-service", "nginx-lb", "redis-cache", "nginx-lb,redis-cache"]
)
lines = st.tuples(
    names, names, st.sampled_from(["-", "80", "1:100", "80,443"]), st.sampled_from(["accept", "drop"])
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(written=st.lists(lines, min_size=1, max_size=5))
def test_whatever_is_accepted_compiles_to_chains_that_are_whole(
    written: list[tuple[str, str, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        row(id_=f"l{at}", from_=source, to=to, port=port, verdict=verdict)
        for at, (source, to, port, verdict) in enumerate(written)
    ]
    try:
        policy = read(table(*rows), tmp_path, monkeypatch)
    except PolicyError as refused:
        assert re.search(r"policy.tsv:\d+: (id|verdict|to): ", str(refused))  # noqa: PT017 - refusing is as good
        return
    rules = [line.split(maxsplit=4) for line in compile_rules(policy, "")]
    chains = {rule[3] for rule in rules}
    for rule in rules:
        assert len(rule[3]) <= 28
        for target in re.findall(r"-[jg] (CNET-\S+)", rule[4]):
            assert target in chains
        assert all(len(comment) <= 255 for comment in re.findall(r'--comment "([^"]*)"', rule[4]))


def entry(topology: Topology, source: str, destination: str, port: int) -> str:
    there, back = (str(node.address.ip) for node in map(topology.node, (source, destination)) if node)
    return (
        f"tcp      6 431999 ESTABLISHED src={there} dst={back} sport=40000 dport={port} "
        f"src={back} dst={there} sport={port} dport=40000 [ASSURED] mark=0 use=1"
    )


def test_connections_that_the_policy_denies_are_named_and_others_are_not() -> None:
    policy = shipped("flat")
    known = [
        entry(policy.topology, "redis-cache", "postgres-db", 5432),
        entry(policy.topology, "order-service", "postgres-db", 5432),
        "a line that is damaged src=",
    ]
    found = list(stale_connections(policy, connections(known), set()))
    assert [str(each.original.source) for each in found] == [
        str(node.address.ip) for node in policy.topology.nodes if node.name == "redis-cache"
    ]
    assert policy.decide("redis-cache", "postgres-db", "udp", 1).id == DEFAULT


def test_a_connection_is_read_with_both_its_directions() -> None:
    (found,) = connections(
        [
            "udp 17 29 src=192.0.2.1 dst=192.0.2.2 sport=1 dport=2 [UNREPLIED] "
            "src=192.0.2.3 dst=192.0.2.1 sport=4 dport=1"
        ]
    )
    sent, back = Tuple("192.0.2.1", "192.0.2.2", 1, 2), Tuple("192.0.2.3", "192.0.2.1", 4, 1)
    assert found == Connection("udp", "", sent, back)


def test_a_connection_of_a_protocol_without_a_name_is_given_by_its_number() -> None:
    policy = shipped("flat")
    known = entry(policy.topology, "redis-cache", "postgres-db", 5432).replace("tcp      6", "unknown  254")
    nameless = known.replace(" ESTABLISHED", "").replace("sport=40000 dport=5432 ", "")
    (found,) = stale_connections(
        policy, connections([nameless.replace("sport=5432 dport=40000 ", "")]), set()
    )
    assert as_arguments(found).startswith("-f ipv4 -p 254 -s ")
    assert "--sport" not in as_arguments(found)


def test_a_line_of_conntrack_that_is_no_connection_is_named_not_passed_over() -> None:
    command = [sys.executable, "-m", "security.policy", "stale"]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], input="odd\n", capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert (
        "not read: a line that is not a connection, once (first at line 1); such connections are left as they are"
        in done.stderr
    )
