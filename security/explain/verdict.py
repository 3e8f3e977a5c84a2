"""How a packet really ended: what a probe showed, laid beside what the state foretells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from security.explain.advice import LOAD_AGAIN, by_policy
from security.explain.kernel_trace import Met
from security.explain.path import Foretelling
from security.explain.probe import Experiment, Observation
from security.explain.result import (
    CAUSES_OF_SILENCE,
    Ending,
    Flow,
    Hop,
    Kind,
    Story,
    Telling,
    with_experiment,
)
from security.policy.model import ACCEPT, HOST, WORLD

# What takes the answer alone too: an interface that does not forward may be the one by which it comes.
_LOSE_ANSWERS = (Kind.NO_ANSWER, Kind.FOREIGN, Kind.WRONG_ADDRESS, Kind.WRONG_ROUTE, Kind.NOT_FORWARDED)


def try_it(foretelling: Foretelling, story: Story, own: str, to: str) -> Story:
    """Send a probe, and lay what was seen beside the story."""
    experiment = Experiment(foretelling.topology, foretelling.outside, story.flow, own, to)
    observation = experiment.run()
    if not observation.answer and not observation.dropped_by:
        observation.met = [each.named() if each.drops else each for each in observation.met]
    evidence = tuple(f"{met.table} {met.chain}: {met.why} -> {met.verdict}" for met in observation.met)
    seen_at = observation.seen_at | {f"{met.table} {met.chain}" for met in observation.met}
    dropped = dropping(observation.met)
    killer = (
        Hop(f"{dropped.table} {dropped.chain}", f"{dropped.why} -> {dropped.verdict}") if dropped else None
    )
    live = ending_of(observation, foretelling, story)
    return with_experiment(story, live, seen_at, evidence, killer)


def ending_of(seen: Observation, foretelling: Foretelling, story: Story) -> Ending:
    """Say how it really ended, by what was seen alone; the state only names what silence cannot."""
    if seen.dropped_by:
        return _dropped(seen, foretelling, story)
    if story.ending.kind is Kind.DIVERTED and not seen.arrived:
        return story.ending
    if seen.untranslated and not seen.answer:
        why = "it arrived with the node's own address, for no MASQUERADE rule matched: nobody outside can answer"
        fix = "sudo make up (or sudo scripts/nat.sh up) loads the lab's MASQUERADE rules"
        return Ending(Kind.NO_ANSWER, why, fix=fix)
    if seen.answer == "accepted" and not seen.arrived:
        why = f"another host or rule answered: the probe never came to {story.taker}"
        return Ending(Kind.DIVERTED, why, fix="sudo make rules shows every rule that translates")
    silence_is_well = story.flow.destination == WORLD or _is_silent_udp(seen, story.flow)
    if seen.answer == "accepted" or (seen.arrived and silence_is_well):
        return _passed(seen, foretelling, story)
    return _not_passed(seen, foretelling, story)


def _not_passed(seen: Observation, foretelling: Foretelling, story: Story) -> Ending:
    answered = seen.answer not in ("", "unresolved")
    if answered and seen.arrived:
        return _refused(foretelling, story)
    dropped = dropping(seen.met)
    if dropped:
        why = f"{dropped.table} {dropped.chain}: {dropped.why} -> {dropped.verdict}"
        return Ending(Kind.FOREIGN, why, fix=dropped.fix)
    if answered and story.ending.kind in CAUSES_OF_SILENCE:
        return story.ending
    if answered:
        return Ending(Kind.FOREIGN, "a rule refused it", fix=story.ending.fix)
    if seen.not_sent and not seen.seen_at:
        return _unsent(seen, story.ending)
    return _silence(seen, story.ending, story)


def _dropped(seen: Observation, foretelling: Foretelling, story: Story) -> Ending:
    """Name the line that dropped it; a wrong address or a diversion is the cause of that."""
    if story.ending.kind in (Kind.WRONG_ADDRESS, Kind.DIVERTED):
        return story.ending
    return by_policy(_again(story), foretelling.policy, foretelling.topology, seen.dropped_by).ending


def _passed(seen: Observation, foretelling: Foretelling, story: Story) -> Ending:
    """Say by which line of the policy it arrived, or against which."""
    passed = foretelling.passed(_again(story)).ending
    how = f"it arrived at {story.taker}" + (", and was answered" if seen.answer else "")
    return replace(passed, why=f"{how}; {passed.why}")


def _refused(foretelling: Foretelling, story: Story) -> Ending:
    """Say that it arrived where nobody listens."""
    decision = foretelling.decision(story.flow, story.taker, story.port)
    why = f"it arrived at {story.taker}, and was refused: nobody listens on port {story.port}"
    if decision and decision.verdict != ACCEPT:
        return foretelling.against(_again(story), decision, f"{why}; ").ending
    who = "" if story.taker in (HOST, WORLD) else f" NODE={story.taker}"
    return Ending(Kind.NO_LISTENER, why, fix=f"is the service up? sudo make status; sudo make logs{who}")


def _again(story: Story) -> Telling:
    telling = Telling(story.flow)
    telling.aim(story.taker, story.port)
    return telling


def _is_silent_udp(seen: Observation, flow: Flow) -> bool:
    return flow.protocol == "udp" and not seen.answer


def _unsent(seen: Observation, foretold: Ending) -> Ending:
    """Say why the kernel itself refused to send it."""
    if foretold.kind in CAUSES_OF_SILENCE:
        return replace(foretold, why=f"it could not be sent ({seen.not_sent}); {foretold.why}")
    return Ending(
        Kind.NO_ROUTE, f"it could not be sent: {seen.not_sent}", fix="ip route get shows the way to it"
    )


def _silence(seen: Observation, foretold: Ending, story: Story) -> Ending:
    """Name a silence: by the state, if what was seen agrees with it."""
    what = _how_far(seen, story)
    dropped = dropping(seen.met, answer=True)
    if seen.arrived or seen.answered:
        if foretold.kind in _LOSE_ANSWERS:
            return replace(foretold, why=f"{what}; {foretold.why}")
        if dropped:
            fix = LOAD_AGAIN if dropped.chain.startswith("CNET-") else dropped.fix
            why = f"{what}; {dropped.table} {dropped.chain} drops it: {dropped.why}"
            return Ending(Kind.NO_ANSWER, why, fix=fix)
        return Ending(Kind.NO_ANSWER, what, fix="sudo make status names what differs from the tables")
    # Nobody can answer what leaves as 127.0.0.1, and so nobody answers its ARP question either.
    unanswerable = foretold.kind is Kind.NO_ANSWER and story.flow.source == HOST and seen.asked > seen.told
    if foretold.kind in CAUSES_OF_SILENCE or unanswerable:
        return replace(foretold, why=f"{what}; {foretold.why}")
    return Ending(Kind.LOST, what, fix="sudo make status names what differs from the tables")


def _how_far(seen: Observation, story: Story) -> str:
    """Say how far the probe came."""
    if seen.answered:
        return f"it arrived at {story.taker}, which answered, and the answer did not come back"
    if seen.arrived:
        return f"it arrived at {story.taker}, and no answer came"
    if seen.for_another:
        return f"its frame came to {story.taker}, which ignored it: it is for MAC {seen.for_another}"
    unheard = sorted(seen.asked - seen.told)
    question = f": nobody answered its ARP question for {unheard[0]}" if unheard else ""
    if not seen.seen_at:
        return f"it never left {story.hops[0].where if story.hops else 'the sender'}{question}"
    return f"it was seen at {', '.join(sorted(seen.seen_at))}, and no further{question}"


def dropping(met: Sequence[Met], *, answer: bool = False) -> Met | None:
    """Find the rule or policy that dropped the probe, or its answer."""
    return next((each for each in met if each.drops and each.answer == answer), None)
