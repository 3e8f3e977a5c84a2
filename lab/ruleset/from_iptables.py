"""Convert the chains of iptables-save to those of lab.ruleset.model. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from lab.ruleset import OWN_PREFIX
from lab.ruleset.iptables import Option, Rule, Saved, options_of, words_of
from lab.ruleset.model import (
    Action,
    BaseChain,
    Chains,
    Condition,
    Destination,
    Field,
    Step,
    protocol_name,
)

_HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
_AFTER_TRANSLATION = ("filter", "security")
_HARMLESS = ("LOG", "NFLOG", "ULOG", "TRACE", "AUDIT", "CONTINUE", "")
_ACTIONS = (
    dict.fromkeys(_HARMLESS, Action.NONE)
    | dict.fromkeys(("DNAT", "REDIRECT", "NETMAP", "TPROXY"), Action.REDIRECT)
    | {"ACCEPT": Action.ACCEPT, "DROP": Action.BLOCK, "REJECT": Action.BLOCK, "RETURN": Action.RETURN}
)
_NEW_DESTINATION = {"DNAT": "--to-destination", "NETMAP": "--to"}
_FIELDS = {
    "-s": Field.SOURCE,
    "--src-range": Field.SOURCE,
    "-d": Field.DESTINATION,
    "--dst-range": Field.DESTINATION,
    "-i": Field.IN_INTERFACE,
    "--physdev-in": Field.IN_INTERFACE,
    "-o": Field.OUT_INTERFACE,
    "--physdev-out": Field.OUT_INTERFACE,
    "-p": Field.PROTOCOL,
    "--dport": Field.PORT,
    "--dports": Field.PORT,
    "--ports": Field.EITHER_PORT,
    "--sport": Field.SOURCE_PORT,
    "--sports": Field.SOURCE_PORT,
    "--src-type": Field.SOURCE_TYPE,
    "--dst-type": Field.DESTINATION_TYPE,
    "--ctstate": Field.STATE,
    "--state": Field.STATE,
}


@dataclass(frozen=True, kw_only=True)
class IptablesRule:
    """A rule with the command (iptables, iptables-legacy, ...) that shows it."""

    rule: Rule
    command: str

    @property
    def text(self) -> str:
        """Return "TABLE -A CHAIN ...", for a rule of IPv6 after `ip6tables`."""
        tool = "ip6tables " if is_of_ipv6(self.command) else ""
        return f"{tool}{self.rule.table} {self.rule.text}"

    @property
    def removal(self) -> str:
        """Return the command that deletes the rule, quoted for a shell."""
        table = "" if self.rule.table == "filter" else f"-t {self.rule.table} "
        return f"sudo {self.command} {table}-D {shlex.join(words_of(self.rule.text.removeprefix('-A ')))}"


def is_of_ipv6(command: str) -> bool:
    """Decide whether a command is that of IPv6: ip6tables, ip6tables-nft or ip6tables-legacy."""
    return command.startswith("ip6")


def chains_of(saved: Saved, command: str = "iptables") -> Chains:
    """Read the chains of one backend of iptables; skip rules that cannot be read."""
    policies = {f"{table} {chain}": policy for table, chain, policy in saved.policies}
    names = dict.fromkeys((*policies, *(f"{rule.table} {rule.chain}" for rule in saved.rules)))
    steps: dict[str, list[Step]] = {name: [] for name in names}
    for rule in saved.rules:
        steps[f"{rule.table} {rule.chain}"].append(_step(rule, command, steps))
    bases = [
        BaseChain(
            name=name,
            hook=chain,
            family="ip6" if is_of_ipv6(command) else "ip",
            is_translated=table in _AFTER_TRANSLATION,
            policy=policies.get(name, "ACCEPT").lower(),
        )
        for name, (table, chain) in ((name, name.split()) for name in names)
        if chain in _HOOKS
    ]
    return Chains(bases=bases, steps=steps)


def _step(rule: Rule, command: str, chains: dict[str, list[Step]]) -> Step:
    called = f"{rule.table} {rule.target}"
    is_call = called in chains or rule.target.startswith(OWN_PREFIX)
    return Step(
        conditions=tuple(_conditions(rule)),
        action=Action.CALL if is_call else _ACTIONS.get(rule.target, Action.CHANGE),
        chain=called if is_call else "",
        goto=rule.goto,
        rule=IptablesRule(rule=rule, command=command),
        destination=_destination(rule),
    )


def _destination(rule: Rule) -> Destination | None:
    flag = _NEW_DESTINATION.get(rule.target)
    given = [
        option.values[0]
        for option in options_of(rule.target_options)
        if option.flag == flag and option.values
    ]
    targets = [text for text in given if not text.startswith(":")]  # ":PORT" changes only the port
    if flag is None or (given and not targets):
        return None
    parts = [text.lstrip("[").partition("]:" if text.startswith("[") else ":") for text in targets]
    return Destination(
        addresses=tuple(address for address, _, _ in parts), port=",".join(port for _, _, port in parts)
    )


def _conditions(rule: Rule) -> Iterator[Condition]:
    protocol = ""
    for option in options_of(rule.matches):
        if option.flag == "-m":
            continue
        if option.flag == "-p" and option.values and not option.negated:
            protocol = protocol_name(option.values[0])
        yield _condition(option, protocol)


def _condition(option: Option, protocol: str) -> Condition:
    if option.flag not in _FIELDS or not option.values:
        return Condition(field=Field.OTHER)
    field = _FIELDS[option.flag]
    values = option.values[0].split(",")
    if field == Field.PROTOCOL:
        values = [protocol_name(value) for value in values]
    is_port = field in (Field.PORT, Field.SOURCE_PORT, Field.EITHER_PORT)
    if is_port:
        values = [_port_range(value) for value in values]
    return Condition(
        field=field, values=tuple(values), negated=option.negated, protocol=protocol if is_port else ""
    )


def _port_range(text: str) -> str:
    """Write 8000:8100, :8100 and 8000: as iptables does with "-" and both ends."""
    first, colon, last = text.partition(":")
    return f"{first or 0}-{last or 65535}" if colon else text
