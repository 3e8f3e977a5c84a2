"""The observed outcome: the result of a probe, compared with the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lab.messages import DIAGNOSE
from security.explain.advice import (
    LOAD_NAT,
    LOAD_POLICY,
    outcome_of_delivery,
    outcome_of_drop,
    outcome_without_listener,
)
from security.explain.kernel_trace import TracedRule
from security.explain.lab_state import Lab
from security.explain.probe import Observation, send_probe
from security.explain.result import Hop, Kind, Outcome, Result, mark_hops
from security.policy.model import HOST, WORLD

# Causes that only the state shows; a probe only shows that nothing arrives.
_CAUSES_OF_NO_ANSWER = (
    Kind.WRONG_ROUTE,
    Kind.NO_NEIGHBOUR,
    Kind.WRONG_ADDRESS,
    Kind.NO_NAMESPACE,
    Kind.LINK_DOWN,
    Kind.NOT_A_PORT,
    Kind.NOT_FORWARDED,
    Kind.NO_ROUTE,
    Kind.NOT_OURS,
    Kind.REDIRECTED,
)
# Causes that may stop only the reply: it may enter by an interface that does not forward.
_CAUSES_OF_LOST_REPLY = (
    Kind.NO_REPLY,
    Kind.NOT_OURS,
    Kind.WRONG_ADDRESS,
    Kind.WRONG_ROUTE,
    Kind.NOT_FORWARDED,
)


def observe(lab: Lab, result: Result) -> Result:
    """Send a probe, and add its result to a prediction."""
    seen = send_probe(lab, result.flow)
    observed, dropped = observed_outcome(seen, lab, result), find_drop(seen.rules)
    stop = Hop(dropped.place, f"{dropped.why} -> {dropped.verdict}") if dropped else None
    hops = mark_hops(result, observed, seen.seen_at | {rule.place for rule in seen.rules}, stop)
    return replace(result, hops=tuple(hops), observed=observed, kernel_trace=tuple(map(str, seen.rules)))


def observed_outcome(seen: Observation, lab: Lab, result: Result) -> Outcome:  # noqa: PLR0911 - one return a case
    """Return the observed outcome; without an answer, the prediction names the cause."""
    predicted = result.predicted
    if seen.dropped_by:
        if predicted.kind in (Kind.WRONG_ADDRESS, Kind.REDIRECTED):  # either explains the drop
            return predicted
        return outcome_of_drop(lab, result.flow, result.after_nat, seen.dropped_by)
    if predicted.kind is Kind.REDIRECTED and not seen.arrived:
        return predicted
    if seen.untranslated and not seen.reply:
        why = "it arrived with the node's own address (no MASQUERADE rule matched): no host outside can reply"
        return Outcome(Kind.NO_REPLY, why, LOAD_NAT)
    if seen.reply == "accepted" and not seen.arrived:
        why = f"another host or rule replied: the probe did not arrive at {result.after_nat.destination}"
        return Outcome(Kind.REDIRECTED, why, "sudo make rules lists each rule that translates")
    needs_reply = result.flow.destination != WORLD and (result.flow.protocol != "udp" or seen.reply)
    if seen.reply == "accepted" or (seen.arrived and not needs_reply):
        how = f"it arrived at {result.after_nat.destination}" + (" and got a reply; " if seen.reply else "; ")
        return outcome_of_delivery(lab, result.flow, result.after_nat, how)
    return _outcome_of_failure(seen, lab, result)


def _outcome_of_failure(seen: Observation, lab: Lab, result: Result) -> Outcome:
    predicted, was_refused = result.predicted, seen.reply not in ("", "unresolved")
    if was_refused and seen.arrived:
        receiver, port = result.after_nat.destination, result.after_nat.port
        why = f"it arrived at {receiver} and was refused: no program listens on port {port}"
        return outcome_without_listener(lab, result.flow, result.after_nat, why)
    if dropped := find_drop(seen.rules):
        return Outcome(Kind.NOT_OURS, str(dropped), dropped.fix)
    if was_refused:
        is_named = predicted.kind in _CAUSES_OF_NO_ANSWER
        return predicted if is_named else Outcome(Kind.NOT_OURS, "a rule refused it", predicted.fix)
    if seen.send_error and not seen.seen_at:
        why = f"it could not be sent: {seen.send_error}"
        if predicted.kind in _CAUSES_OF_NO_ANSWER:
            return replace(predicted, why=f"{why}; {predicted.why}")
        return Outcome(Kind.NO_ROUTE, why, "see ip route get")
    return _outcome_without_answer(seen, result)


def _outcome_without_answer(seen: Observation, result: Result) -> Outcome:
    """Return the cause of a missing answer: the predicted one, if it agrees with the observation."""
    predicted, how_far = result.predicted, _describe_progress(seen, result)
    explained = replace(predicted, why=f"{how_far}; {predicted.why}")
    if seen.arrived or seen.replied:
        if predicted.kind in _CAUSES_OF_LOST_REPLY:
            return explained
        if dropped := find_drop(seen.rules, reply=True):
            fix = LOAD_POLICY if dropped.chain.startswith("CNET-") else dropped.fix
            return Outcome(Kind.NO_REPLY, f"{how_far}; {dropped.place} drops it: {dropped.why}", fix)
        return Outcome(Kind.NO_REPLY, how_far, DIAGNOSE)
    # A packet from 127.0.0.1 cannot get a reply, so its ARP request gets none either.
    unresolved = result.flow.source == HOST and bool(seen.arp_requests - seen.arp_replies)
    if predicted.kind in _CAUSES_OF_NO_ANSWER or (predicted.kind is Kind.NO_REPLY and unresolved):
        return explained
    return Outcome(Kind.LOST, how_far, DIAGNOSE)


def _describe_progress(seen: Observation, result: Result) -> str:
    """Describe the last place that the probe reached."""
    receiver = result.after_nat.destination
    if seen.replied:
        return f"it arrived at {receiver}, which replied, but the reply did not come back"
    if seen.arrived:
        return f"it arrived at {receiver}, and no reply came"
    if seen.other_mac:
        return f"its frame arrived at {receiver}, which ignored it: it is for MAC {seen.other_mac}"
    unresolved = sorted(seen.arp_requests - seen.arp_replies)
    no_reply = f": no reply to its ARP request for {unresolved[0]}" if unresolved else ""
    if not seen.seen_at:
        return f"it never left {result.hops[0].where if result.hops else 'the sender'}{no_reply}"
    return f"it was last seen at {', '.join(sorted(seen.seen_at))}{no_reply}"


def find_drop(rules: Sequence[TracedRule], *, reply: bool = False) -> TracedRule | None:
    """Find the rule or policy that dropped the probe, or its reply."""
    return next((rule for rule in rules if rule.drops and rule.is_reply == reply), None)
