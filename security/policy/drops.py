"""The chain that logs, copies and drops a packet under an id of the policy, for each tool."""

from __future__ import annotations

from collections.abc import Iterator

from security.policy.model import MLD

NFLOG_GROUP, PROOF_GROUP = 25955, 25956  # an NFLOG group has one listener, so the proof uses a second group
LOG_PREFIX = "DROPPED: "
LOG_PER_SECOND, LOG_BURST = 5, 20

_NFLOG_BYTES = 128
_FRAME_LOG = f"--limit {LOG_PER_SECOND}/sec --limit-burst {LOG_BURST} --log-level warning --log-ip --log-arp"
_PACKET_LOG = f"-m limit --limit {LOG_PER_SECOND}/second --limit-burst {LOG_BURST} -j LOG"
NOT_LOGGED = (MLD,)  # the kernel of each node sends these: only the proof gets a copy


def drop_chain(policy_id: str) -> str:
    """Return the name of the chain that drops packets under a policy id."""
    return f"CNET-DROP-{policy_id}"


def frame_drop(policy_id: str) -> Iterator[str]:
    """Return the rules of a drop chain of ebtables."""
    prefix, is_quiet = f'"{LOG_PREFIX}{policy_id} "', policy_id in NOT_LOGGED
    if not is_quiet:
        yield f"{_FRAME_LOG} --log-prefix {prefix} -j CONTINUE"
    for group in (PROOF_GROUP,) if is_quiet else (NFLOG_GROUP, PROOF_GROUP):
        yield f"--nflog-group {group} --nflog-prefix {prefix} --nflog-range {_NFLOG_BYTES} -j CONTINUE"
    yield "-j DROP"


def packet_drop(policy_id: str) -> Iterator[tuple[str, str]]:
    """Return the rules before the drop: why, rule."""
    prefix = f'"{LOG_PREFIX}{policy_id} "'
    yield f"log at most {LOG_PER_SECOND} packets a second", f"{_PACKET_LOG} --log-prefix {prefix}"
    for group, why in (
        (NFLOG_GROUP, "copy for tcpdump and the dashboard"),
        (PROOF_GROUP, "copy for the proof"),
    ):
        yield why, f"-j NFLOG --nflog-group {group} --nflog-prefix {prefix} --nflog-size {_NFLOG_BYTES}"
