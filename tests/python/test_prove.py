"""The packets of the proof, and what it prints: what passed, differences one by one or by kind."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.terminal import Console
from lab.topology import load as load_topology
from security.policy.table import load
from security.proof import packets
from security.proof.family import IPV4, IPV6
from security.proof.probe import Difference, ProbeResult
from security.proof.proof import Proof
from security.proof.recognise import Seen, recognise
from security.proof.report import group_differences, print_proof

ARRIVED = "the rule that should drop it is missing, or packets do not reach it"


def printed(proof: Proof, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    print_proof(proof, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def proof_of(results: tuple[ProbeResult, ...] = (), differences: tuple[Difference, ...] = ()) -> Proof:
    return Proof(load(), results, (), differences, 1.0)


def test_a_few_differences_are_said_one_by_one() -> None:
    few = [Difference(f"flow {number}", "must be dropped by default; it was lost") for number in range(10)]
    assert list(group_differences(few)) == [f"{each.flow}: {each.why}" for each in few]


def test_many_differences_are_said_by_kind_with_the_first_and_the_count() -> None:
    many = [
        Difference(f"flow {n}", f"must be dropped by default; it arrived: {ARRIVED}") for n in range(1100)
    ]
    many.insert(7, Difference("a burst", "gateway allows at most 20; 60 passed"))
    assert list(group_differences(many)) == [
        f"flow 0: must be dropped by default; it arrived: {ARRIVED} (1099 more like it)",
        "a burst: gateway allows at most 20; 60 passed",
    ]
    lines = printed(proof_of(differences=tuple(many)), 200)
    assert "  to find the cause: sudo make diagnose" in lines


def test_the_flows_of_each_source_are_listed_and_no_word_is_broken() -> None:
    lines = printed(proof_of(), 80)
    assert lines[2].split() == ["from", "to", "ports"]
    assert max(map(len, lines[:-1])) <= 80
    assert any(line.startswith(" service-registry   none") for line in lines)


def test_packets_of_the_proof_are_recognised_and_others_are_not() -> None:
    flat = load_topology("flat")
    source, to = (str(node.address.ip) for node in flat.nodes[:2])
    for segment in (packets.tcp(source, to, 80, 7), packets.fragment(source, to, 80, 7, is_last=False)):
        assert recognise(segment) == Seen(7, answer=False)
    datagram = packets.udp(source, to, 53, 8)
    assert recognise(datagram) == Seen(8, answer=False)
    assert packets.checksum(datagram[:20]) == 0
    claim = packets.arp_reply("02:00:00:00:00:01", source, to, 9)
    assert recognise(claim, packets.ARP) == Seen(9, answer=False)
    reply = packets.echo(source, to, 10, kind=IPV4.rules.echo[1])
    assert recognise(reply) == Seen(10, answer=True)
    assert recognise(packets.echo("fe80::1", "fe80::2", 11), IPV6.ethertype) == Seen(11, answer=False)
    assert recognise(packets.ip(source, to, packets.TCP, b"\0" * 20, 1)) is None


@pytest.mark.parametrize("number", [1, 19_999, 20_000, 70_001])
def test_a_reply_that_nobody_asked_for_has_an_id_that_no_ping_of_any_proof_has(number: int) -> None:
    flat = load_topology("flat")
    source, to = (str(node.address.ip) for node in flat.nodes[:2])
    reply = packets.unasked_reply(source, to, number)
    identity = int.from_bytes(reply[24:26])
    assert identity not in range(packets.FIRST_PORT, packets.FIRST_PORT + packets.SOURCE_PORTS)
    assert recognise(reply) == Seen(number, answer=True)
    assert packets.checksum(reply[20:]) == 0


@given(data=st.binary(max_size=80), kind=st.sampled_from([IPV4.ethertype, packets.ARP, IPV6.ethertype, 0]))
def test_damaged_packets_are_not_recognised_and_cause_no_error(data: bytes, kind: int) -> None:
    seen = recognise(data, kind)
    assert seen is None or seen.number >= 0
