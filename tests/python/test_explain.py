"""Packets walked through rules of other people: what is known is right, what is not known is a doubt."""

import pytest

from lab.ruleset.iptables import parse
from lab.topology import load as load_topology
from security.explain.advice import sysctl_key
from security.explain.kernel_trace import TracedRule, read_trace
from security.explain.options import UsageError, read_options
from security.explain.verdict import find_drop
from security.rules.matches import Packet
from security.rules.walk import Ruleset, Walk

NODE, DATABASE, BRIDGE = "10.0.0.40", "10.0.0.60", "10.0.0.1"
QUESTION = Packet("tcp", NODE, DATABASE, 5432, into="br-app", out="br-app")
ANSWER = Packet("tcp", DATABASE, NODE, 5432, into="br-app", out="br-app", answer=True)


def walked(text: str, packet: Packet = QUESTION, table: str = "filter", hook: str = "FORWARD") -> Walk:
    rules = "\n".join(f"[0:0] {line}" for line in text.splitlines())
    saved = parse(f"*{table}\n:{hook} ACCEPT [0:0]\n{rules}\nCOMMIT\n")
    return Ruleset(saved, lambda address: address == BRIDGE, address_of=lambda _: BRIDGE).hook(hook, packet)


@pytest.mark.parametrize(
    "rule",
    [
        "-A FORWARD -p tcp -m tcp --dport 5432 -m hashlimit --hashlimit-above 100/sec --hashlimit-name x -j DROP",
        "-A FORWARD -p tcp -m limit --limit 5/sec -j DROP",
        "-A FORWARD -m addrtype --dst-type BROADCAST -j DROP",
        "-A FORWARD -m socket -j DROP",
        "-A FORWARD -m mark --mark 0x1 -j DROP",
        "-A FORWARD -p tcp -m tcp --sport 32768:40000 -j DROP",
        '-A FORWARD -p tcp -m string ! --string "--comment" --algo bm -j DROP',
        "-A FORWARD -j NFQUEUE --queue-num 1",
        '-A FORWARD -m comment --comment unended" -j DROP',
    ],
)
def test_a_rule_that_cannot_be_simulated_is_a_doubt(rule: str) -> None:
    walk = walked(rule)
    assert walk.verdict == "ACCEPT"
    assert len(walk.uncertain) == 1


@pytest.mark.parametrize(
    "rule",
    [
        "-A FORWARD -p udp -m hashlimit --hashlimit-above 100/sec --hashlimit-name x -j DROP",  # not our protocol
        "-A FORWARD -d 10.0.0.70/32 -m socket -j DROP",
        "-A FORWARD -m limit --limit 5/sec -j LOG",  # decides nothing
        "-A FORWARD -m limit --limit 5/sec -j ACCEPT",  # it passes anyhow
    ],
)
def test_a_rule_that_makes_no_difference_is_no_doubt(rule: str) -> None:
    walk = walked(rule)
    assert (walk.verdict, walk.uncertain) == ("ACCEPT", [])


def test_a_rule_that_perhaps_accepts_is_a_doubt_before_one_that_drops() -> None:
    walk = walked("-A FORWARD -m limit --limit 5/sec -j ACCEPT\n-A FORWARD -j DROP")
    assert walk.verdict == "DROP"
    assert len(walk.uncertain) == 1


@pytest.mark.parametrize(
    ("source", "verdict"), [(NODE, "DROP"), ("10.9.9.40", "DROP"), ("10.0.0.41", "ACCEPT")]
)
def test_a_mask_with_holes_is_compared_bit_by_bit(source: str, verdict: str) -> None:
    packet = Packet("tcp", source, DATABASE, 5432)
    assert walked("-A FORWARD -s 10.0.0.40/255.0.0.255 -j DROP", packet).verdict == verdict


def test_an_answer_is_established_and_its_ports_change_places() -> None:
    rule = "-A FORWARD -p tcp -m tcp --sport 5432 -j DROP"
    assert [walked(rule, packet).verdict for packet in (QUESTION, ANSWER)] == ["ACCEPT", "DROP"]
    state = "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j DROP"
    assert [walked(state, packet).verdict for packet in (QUESTION, ANSWER)] == ["ACCEPT", "DROP"]
    assert not walked(rule).uncertain


def test_translations_are_done_or_doubted() -> None:
    def translated(target: str) -> Walk:
        return walked(f"-A PREROUTING -p tcp -m tcp --dport 5432 -j {target}", table="nat", hook="PREROUTING")

    redirected = translated("REDIRECT --to-ports 3128")
    assert (redirected.packet.destination, redirected.packet.port) == (BRIDGE, 3128)
    moved = translated("DNAT --to-destination 10.0.0.70:99")
    assert (moved.packet.destination, moved.packet.port) == ("10.0.0.70", 99)
    assert not redirected.uncertain + moved.uncertain
    for target in (
        "REDIRECT --to-ports 3128-3130",
        "DNAT --to-destination 10.0.0.60:5432-5440",
        "DNAT --to-destination 10.0.0.60-10.0.0.69",
        "NETMAP --to 10.0.0.61/32",
    ):
        assert translated(target).uncertain, target
        assert translated(target).packet == QUESTION


def test_a_table_with_rules_of_nft_is_a_doubt() -> None:
    note = "# Table `filter' is incompatible, use 'nft' tool."
    walk = Ruleset(parse(f"{note}\n"), lambda _: False).hook("FORWARD", QUESTION)
    assert walk.uncertain == ["table filter has rules of nft that iptables-save cannot write"]


def test_a_trace_tells_rules_from_policies_and_the_probe_from_its_answer() -> None:
    told = [
        "PACKET: 2 aa IN=br-app OUT=br-app SRC=10.0.0.40 DST=10.0.0.60",
        " TRACE: 2 aa filter:FORWARD:rule:0xc:ACCEPT  -4 -t filter -A FORWARD -i br-app -j ACCEPT",
        " TRACE: 1 aa others:forward:rule:0x1f:DROP  ",
        "PACKET: 2 bb IN=br-app OUT=br-app SRC=10.0.0.60 DST=10.0.0.40",
        " TRACE: 2 bb filter:FORWARD:policy:DROP ",
    ]
    accepted, dropped, answer = read_trace(told)
    assert (accepted.table, accepted.drops, accepted.is_reply) == ("filter", False, False)
    assert (dropped.table, dropped.handle, dropped.drops, dropped.is_reply) == (
        "inet others",
        31,
        True,
        False,
    )
    assert "nft delete rule inet others forward handle 31" in dropped.fix
    assert (answer.why, answer.is_reply) == ("the chain's policy", True)
    assert TracedRule("filter", "FORWARD", "DROP", "-4 -t filter -A FORWARD -j DROP", handle=1).fix.endswith(
        "-D FORWARD -j DROP"
    )


@pytest.mark.parametrize(
    ("line", "chain"),
    [
        ("2 aa filter:FORWARD", "ip filter FORWARD"),
        ("2 aa mine:FORWARD", "ip mine FORWARD"),
        ("1 aa f:fwd", "inet f fwd"),
        ("7 aa filter:FORWARD", "bridge filter FORWARD"),
    ],
)
def test_a_policy_that_drops_comes_with_the_command_that_shows_its_chain(line: str, chain: str) -> None:
    (met,) = read_trace([f" TRACE: {line}:policy:DROP "])
    assert met.fix.endswith(f" drops: nft list chain {chain} shows it")


def test_a_sysctl_key_an_interface_with_a_dot_keeps_the_dot() -> None:
    assert sysctl_key("br-app", "forwarding") == "net.ipv4.conf.br-app.forwarding"
    assert sysctl_key("eth0.100", "forwarding") == "net/ipv4/conf/eth0.100/forwarding"


def test_what_dropped_the_probe_is_told_from_what_dropped_its_answer() -> None:
    met = [TracedRule("filter", "FORWARD", "ACCEPT", "")]
    assert find_drop(met) is find_drop(met, reply=True) is None
    lost, answer = (
        TracedRule("filter", "INPUT", "DROP", ""),
        TracedRule("mangle", "FORWARD", "REJECT", "", is_reply=True),
    )
    for order in ([lost, answer], [answer, lost]):
        assert (find_drop(order), find_drop(order, reply=True)) == (lost, answer)


@pytest.mark.parametrize(
    ("words", "flow"),
    [
        (("order-service", "postgres-db", "5432"), "order-service -> postgres-db tcp/5432"),
        (("10.0.0.40", "postgres", "postgres"), "order-service -> postgres-db tcp/5432"),
        (("product-service", "redis-cache.lab", "redis-cache"), "product-1 -> redis-cache tcp/6379"),
        (("product2", "10.0.0.1", "domain", "--udp"), "product-2 -> host udp/53"),
        (("localhost", "postgres-db", "", "--icmp"), "host -> postgres-db icmp"),
        (("host", "localhost", "8080"), "host -> host tcp/8080"),
    ],
)
def test_places_and_ports_are_taken_as_people_write_them(words: tuple[str, ...], flow: str) -> None:
    assert str(read_options(words, load_topology("flat")).flow) == flow


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "FROM is not given"),
        (("", "host", "80"), "FROM is not given"),
        (("host", "world", "80"), "FROM=host TO=world"),
        (("redis-cache", "10.0.0.50", "80"), "from a node to itself"),
        (("8.8.8.8", "host", "80"), "FROM=8.8.8.8 is not a node"),
        (("redis-cache", "host", "0"), "PORT=0 is not a port"),
        (("redis-cache", "host", "٨٠"), "PORT=٨٠ is neither"),
        (("redis-cache", "host", "9" * 5000), "is not a port"),
        (("redis-cache", "host", "80", "--wrong"), "unrecognized arguments: --wrong; for example: sudo make"),
    ],
)
def test_what_cannot_be_asked_is_said_with_the_variable_of_make(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_options(words, load_topology("flat"))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
