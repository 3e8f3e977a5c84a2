"""Collect the rules of iptables or ip6tables, and the ids under which they drop packets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lab.family import IPV4, Family
from security.policy.drops import drop_chain, packet_drop
from security.policy.model import ICMP_SIZE, PING_BYTES, PING_TOO_LARGE, Policy


class RuleList:
    """The rules of the lab's chains, of the hooks in built-in chains, and of the drop chains."""

    def __init__(self, policy: Policy, family: Family) -> None:
        self.policy, self.family = policy, family
        self.chains: list[str] = []
        self.hooks: list[str] = []
        self._dropping: defaultdict[str, set[str]] = defaultdict(set)  # table -> ids

    @property
    def ping_bytes(self) -> int:
        """Return the size of the largest ping, with its IP header: what it carries is the same in both families."""
        return PING_BYTES + self.family.header - IPV4.header

    def add(self, chain: str, why: str, rule: str = "", table: str = "security") -> None:
        """Append a rule to a chain of the lab."""
        self.chains.append(self._written(chain, why, rule, table))

    def add_hook(self, chain: str, why: str, rule: str, table: str = "security") -> None:
        """Append a rule that calls a chain of the lab to a built-in chain."""
        self.hooks.append(self._written(chain, why, rule, table))

    def add_built_in(self, chain: str, policy_id: str, rule: str, table: str = "security") -> None:
        """Append a rule that no line of the policy asks for; its comment is the id's reason."""
        self.add(chain, f"{policy_id}: {self._reason_of(policy_id)}", rule, table)

    def drop(self, policy_id: str, table: str = "security") -> str:
        """Return the target that drops a packet under an id."""
        self._dropping[table].add(policy_id)
        return f"-j {drop_chain(policy_id)}"

    def drops(self) -> Iterator[str]:
        """Yield the rules of the drop chains."""
        for table, ids in self._dropping.items():
            for policy_id in sorted(ids):
                last = (self._reason_of(policy_id), "-j DROP")
                for why, rule in (*packet_drop(policy_id), last):
                    yield self._written(drop_chain(policy_id), f"{policy_id}: {why}", rule, table)

    def _written(self, chain: str, why: str, rule: str, table: str) -> str:
        comment = f'-m comment --comment "cnet: {why}"'
        return f"{self.family.tool} {table} -A {chain} {comment} {rule}".rstrip()

    def _reason_of(self, policy_id: str) -> str:
        if policy_id == ICMP_SIZE:
            return PING_TOO_LARGE.format(self.ping_bytes)
        return self.policy.reason_of(policy_id)
