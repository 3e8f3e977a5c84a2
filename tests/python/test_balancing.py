"""The gateway's choices: even turns, slow start, panic, and retries that cannot become a storm."""

from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Load = Callable[[str], ModuleType]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def instances(gateway: Load, count: int, clock: Clock) -> list[Any]:
    return [
        gateway("instance").Instance(f"http://192.0.2.{number}:80", 1.0, f"i{number}", clock)
        for number in range(1, count + 1)
    ]


def turns(gateway: Load, known: list[Any], count: int) -> Counter[str]:
    choose = gateway("balancer").choose
    return Counter(choose(known).name for _ in range(count))


def test_healthy_instances_get_exactly_the_same_share(gateway: Load) -> None:
    assert set(turns(gateway, instances(gateway, 3, Clock()), 900).values()) == {300}


def test_what_is_out_gets_nothing_and_the_others_stay_even(gateway: Load) -> None:
    known = instances(gateway, 4, Clock())
    known[1].eject("test")
    known[2].passing = False
    assert turns(gateway, known, 100) == {"i1": 50, "i4": 50}


def test_one_that_comes_back_begins_with_a_small_share_that_grows(gateway: Load) -> None:
    clock = Clock()
    known = instances(gateway, 3, clock)
    known[0].eject("test")
    known[0].readmit()
    shares = []
    for _ in range(6):
        shares.append(turns(gateway, known, 300)["i1"])
        clock.now += 1
    assert shares[0] < 30
    assert shares == sorted(shares)
    assert shares[5] == 100


def test_when_none_is_healthy_all_take_part(gateway: Load) -> None:
    known = instances(gateway, 3, Clock())
    for instance in known:
        instance.eject("test")
    assert set(turns(gateway, known, 30).values()) == {10}


def test_a_retry_goes_to_another_instance_while_there_is_one(gateway: Load) -> None:
    known = instances(gateway, 2, Clock())
    choose = gateway("balancer").choose
    first = choose(known)
    second = choose(known, [first])
    assert {first, second} == set(known)
    assert choose(known, known) in known
    assert choose([], []) is None


def answer(gateway: Load, status: int, body: bytes = b"{}") -> Any:
    return gateway("instance").Answer("i1", "http://192.0.2.1:80", status, body, {})


def test_three_bad_answers_in_a_row_eject_and_a_good_one_in_between_does_not(gateway: Load) -> None:
    instance = instances(gateway, 1, Clock())[0]
    for status in (503, 503, 200, 503, 503):
        instance._count(answer(gateway, status))
    assert not instance.ejected
    instance._count(answer(gateway, 502))
    assert instance.ejected


def test_a_request_that_waits_while_its_instance_is_ejected_is_one_without_answer(gateway: Load) -> None:
    instance = instances(gateway, 1, Clock())[0]
    instance._client.close()
    with pytest.raises(gateway("instance").NoAnswerError):
        instance.ask("GET", "/", None, {}, 0.2)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # it gives modules, which never change
@given(st.lists(st.booleans(), max_size=2000))
def test_retries_never_exceed_a_fifth_of_requests_and_what_seconds_bring(
    gateway: Load, retries: list[bool]
) -> None:
    module = gateway("budget")
    budget = module.RetryBudget(Clock())
    requests = taken = 0
    for wants_retry in retries:
        budget.note_request()
        requests += 1
        while wants_retry and budget.take():
            taken += 1
    assert taken <= module.PER_SECOND * module.SECONDS + module.SHARE * requests


def test_an_empty_budget_refills_with_time(gateway: Load) -> None:
    clock = Clock()
    budget = gateway("budget").RetryBudget(clock)
    while budget.take():
        pass
    assert not budget.take()
    clock.now += 1
    assert sum(budget.take() for _ in range(100)) == 10


def test_the_list_of_the_registry_is_followed(gateway: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    upstreams, listed = gateway("upstreams"), gateway("cnet_service.discovery").Listed
    monkeypatch.setattr(upstreams.gevent, "spawn_later", lambda _seconds, work: work())
    clock = Clock()
    upstream = upstreams.Upstream("u", 0.1, 0.2, 2, clock)
    upstream.update([listed("a", "http://192.0.2.1:80", True), listed("b", "http://192.0.2.2:80", True)])
    assert [instance.weight for instance in upstream.instances] == [1.0, 1.0]  # nobody to be gentle for
    kept = upstream.instances[1]
    clock.now += 10
    upstream.update([listed("b", "http://192.0.2.2:80", False), listed("c", "http://192.0.2.3:80", True)])
    assert upstream.instances[0] is kept
    assert not kept.healthy
    assert upstream.instances[1].weight < 1  # new: slow start
    upstream.update([])  # the registry knows nobody: those known may well answer
    assert len(upstream.instances) == 2


@pytest.mark.parametrize("body", [b"", b"{}x", b'{"error":1}', b'[{"ip":"a"}]', b"[1]", b"null"])
def test_what_is_no_list_of_instances_is_refused(gateway: Load, body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        gateway("cnet_service.discovery").read_list(body)
