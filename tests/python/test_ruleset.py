"""The difference between the lab's wanted rules and the live ones, and what removes it."""

from __future__ import annotations

from lab.ruleset.difference import OwnRules, change, differences, own_rules

HOOK = '-A FORWARD -m comment --comment "cnet: forwarded -j ACCEPT" -j CNET-FORWARD'
RULES = ("-A CNET-FORWARD -i br-app -j ACCEPT", "-A CNET-FORWARD -o br-app -j DROP")


def rules(*lines: str) -> OwnRules:
    return own_rules("\n".join(("*filter", ":CNET-FORWARD - [0:0]", *lines, "COMMIT")), "FORWARD|INPUT")


def test_equal_rules_need_no_change() -> None:
    assert change(rules(HOOK, *RULES), rules(HOOK, *RULES), "iptables") == ""
    assert list(differences(rules(HOOK, *RULES), rules(HOOK, *RULES), "iptables")) == []


def test_a_chain_whose_rules_have_another_order_is_loaded_anew_and_a_hook_stays() -> None:
    text = change(rules(HOOK, *RULES), rules(HOOK, *reversed(RULES)), "iptables")
    assert text == "\n".join(("*filter", ":CNET-FORWARD - [0:0]", *RULES, "COMMIT", ""))


def test_a_hook_behind_a_rule_of_others_is_named_and_becomes_the_first_rule() -> None:
    wanted, live = rules(HOOK, *RULES), rules("-A FORWARD -j LOG", HOOK, *RULES)
    (said,) = differences(wanted, live, "iptables")
    assert said.endswith("in filter FORWARD comes after a rule that is not the lab's: -A FORWARD -j LOG")
    first = HOOK.replace("-A FORWARD", "-I FORWARD 1")
    assert change(wanted, live, "iptables") == f"*filter\n-D{HOOK[2:]}\n{first}\nCOMMIT\n"


def test_what_follows_dockers_jump_is_not_before_a_hook_that_docker_user_has_too() -> None:
    docker = ("-A FORWARD -j DOCKER-USER", "-A FORWARD -j DOCKER-FORWARD")
    user = "-A DOCKER-USER -j CNET-FORWARD"
    assert rules(*docker, HOOK, user).behind == []
    assert [each.rules for each in rules(*docker, HOOK).behind] == [docker[1:]]
    assert [each.rules for each in rules("-A FORWARD -j LOG", *docker, HOOK, user).behind] == [
        ("-A FORWARD -j LOG",)
    ]


def test_without_wanted_rules_hooks_and_chains_of_the_lab_go_and_others_stay() -> None:
    live = rules(HOOK, HOOK, "-A FORWARD -j LOG", *RULES, "-A OTHER -j ACCEPT")
    removal = f"-D{HOOK[2:]}\n"
    assert change(OwnRules(), live, "iptables") == (
        f"*filter\n{removal}{removal}-F CNET-FORWARD\n-X CNET-FORWARD\nCOMMIT\n"
    )
