"""Convert the output of `nft -j list ruleset` to the chains of lab.ruleset.model.

libnftables-json(5) describes the format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.ruleset.host import output_of
from lab.ruleset.model import Action, BaseChain, Chains, Condition, Destination, Field, Step, protocol_name

_TRANSLATION_PRIORITY = -100  # NF_IP_PRI_NAT_DST, linux/netfilter_ipv4.h
_ACTIONS = (
    {"accept": Action.ACCEPT, "return": Action.RETURN, "jump": Action.CALL, "goto": Action.CALL}
    | dict.fromkeys(("drop", "reject"), Action.BLOCK)
    | dict.fromkeys(("dnat", "redirect", "tproxy"), Action.REDIRECT)
    | dict.fromkeys(("snat", "masquerade", "queue", "notrack", "mangle", "fwd", "dup"), Action.CHANGE)
)
_MATCHES_SOME = ("limit", "quota", "ct count")  # statements that match some packets only
_FIELDS = {
    "payload saddr": Field.SOURCE,
    "payload daddr": Field.DESTINATION,
    "payload dport": Field.PORT,
    "payload sport": Field.SOURCE_PORT,
    "payload protocol": Field.PROTOCOL,
    "meta l4proto": Field.PROTOCOL,
    "meta iifname": Field.IN_INTERFACE,
    "meta iif": Field.IN_INTERFACE,
    "meta oifname": Field.OUT_INTERFACE,
    "meta oif": Field.OUT_INTERFACE,
    "meta nfproto": Field.FAMILY,
    "meta protocol": Field.FAMILY,
    "ct state": Field.STATE,
    "ct status": Field.STATE,
    "fib saddr": Field.SOURCE_TYPE,
    "fib daddr": Field.DESTINATION_TYPE,
}
_FAMILIES = {"ipv4": "ip", "ipv6": "ip6"}
_OTHER = Condition(field=Field.OTHER)


class _CannotReadError(Exception):
    """An expression that is not known here."""


@dataclass(frozen=True, kw_only=True)
class NftRule:
    """A rule by its place and handle."""

    place: str  # FAMILY TABLE CHAIN
    handle: int
    expression: Sequence[Any]

    @property
    def text(self) -> str:
        """Return the rule as `nft` writes it, without its counters; as JSON where nft does not list it."""
        listed = output_of("nft", "-a", "list", "chain", *self.place.split())
        found = re.search(rf"^\s*(.*) # handle {self.handle}$", listed, re.MULTILINE)
        written = (
            re.sub(r"counter packets \d+ bytes \d+ ", "", found[1]) if found else json.dumps(self.expression)
        )
        return f"nft {self.place}: {written}"

    @property
    def removal(self) -> str:
        """Return the command that deletes the rule."""
        return f"sudo nft delete rule {self.place} handle {self.handle}"


def chains_of(objects: Iterable[Mapping[str, Any]]) -> Chains:
    """Read the chains; `objects` is the list below "nftables"."""
    items = [next(iter(item.items())) for item in objects]
    sets = {_place(about, f"@{about['name']}"): about for kind, about in items if kind in ("set", "map")}
    reader = _Reader({place: about.get("elem", []) for place, about in sets.items()})
    bases: list[BaseChain] = []
    steps: dict[str, list[Step]] = {}
    for kind, about in items:
        if kind == "chain":
            place = _place(about, about["name"])
            steps.setdefault(place, [])
            bases += [_base(place, about)] if "hook" in about else []
        elif kind == "rule":
            place = _place(about, about["chain"])
            steps.setdefault(place, []).extend(reader.steps(place, about))
    return Chains(bases=bases, steps=steps)


def _place(about: Mapping[str, Any], name: str) -> str:
    return f"{about['family']} {about['table']} {name}"


class _Reader:
    """Reads rules; `sets` has the elements of named sets and maps, by FAMILY TABLE @NAME."""

    def __init__(self, sets: Mapping[str, list[Any]]) -> None:
        self._sets = sets

    def steps(self, place: str, about: Mapping[str, Any]) -> Iterator[Step]:
        """Yield the steps of a rule."""
        table = place.rpartition(" ")[0]
        rule = NftRule(place=place, handle=about["handle"], expression=about.get("expr", ()))
        conditions: list[Condition] = []
        for statement in rule.expression:
            kind, value = next(iter(statement.items()))
            if kind == "match":
                conditions += self._conditions(table, value["left"], value["op"], value["right"])
            elif kind == "vmap":
                for key, verdict in self._elements(table, value["data"]):
                    called, target = next(iter(verdict.items()))
                    keys = self._conditions(table, value["key"], "==", {"set": [key]})
                    yield from _step(rule, (*conditions, *keys), called, target, of_map=True)
            elif kind in _MATCHES_SOME or (kind == "xt" and _is_match(value)):
                conditions.append(_OTHER)
            else:
                yield from _step(rule, (*conditions, *self._of_maps(table, value)), kind, value)

    def _of_maps(self, table: str, value: Any) -> Iterator[Condition]:
        """Yield the keys of maps of addresses or ports: only packets with such a key are translated."""
        for part in value.values() if isinstance(value, dict) else ():
            if isinstance(part, dict) and "map" in part:
                keys = [key for key, _ in self._elements(table, part["map"]["data"])]
                yield from self._conditions(table, part["map"]["key"], "==", {"set": keys})

    def _elements(self, table: str, data: Any) -> list[Any]:
        """Return the elements of a named or anonymous set or map."""
        return self._sets.get(f"{table} {data}", []) if isinstance(data, str) else list(data["set"])

    def _conditions(self, table: str, left: Any, operator: str, right: Any) -> Iterator[Condition]:
        """Read one comparison; a row (`ip saddr . tcp dport`) gives one condition for each part."""
        parts = left["concat"] if isinstance(left, dict) and "concat" in left else [left]
        is_row = len(parts) > 1
        if operator not in ("==", "in", "!=") or (is_row and operator == "!="):
            yield _OTHER
            return
        try:
            for at, part in enumerate(parts):
                values = tuple(self._values(table, right, at))
                yield from _conditions_of(part, values, negated=operator == "!=")
        except _CannotReadError:
            yield _OTHER
        if is_row:
            yield _OTHER  # the combination of the parts is not read

    def _values(self, table: str, right: Any, at: int) -> Iterator[str]:
        """Yield the values on the right side as text; of a row, those of part `at`."""
        if isinstance(right, str) and right.startswith("@"):
            right = self._elements(table, right)
        kind = next(iter(right), "") if isinstance(right, dict) else ""
        if isinstance(right, list):
            for value in right:
                yield from self._values(table, value, at)
        elif kind == "concat":
            yield from self._values(table, right["concat"][at], 0)
        elif kind == "set":
            yield from self._values(table, right["set"], at)
        elif kind == "elem":
            yield from self._values(table, right["elem"]["val"], at)
        else:
            yield _as_text(right)


def _is_match(value: Any) -> bool:
    """Decide whether an extension of iptables is a match and no target; before nft 1.0.6 the value is null."""
    return not isinstance(value, dict) or value.get("type") == "match"


def _base(name: str, about: Mapping[str, Any]) -> BaseChain:
    devices = about.get("dev", ())
    return BaseChain(
        name=name,
        hook=about["hook"].upper(),
        family=about["family"],
        is_translated=about.get("prio", 0) > _TRANSLATION_PRIORITY,
        policy=about.get("policy", "accept"),
        devices=(devices,) if isinstance(devices, str) else tuple(devices),
    )


def _step(
    rule: NftRule, conditions: tuple[Condition, ...], kind: str, value: Any, *, of_map: bool = False
) -> Iterator[Step]:
    action = _ACTIONS.get(kind, Action.NONE)
    if action == Action.NONE:
        return
    table = rule.place.rpartition(" ")[0]
    yield Step(
        conditions=conditions,
        action=action,
        chain=f"{table} {value['target']}" if action == Action.CALL else "",
        goto=kind == "goto",
        rule=rule,
        of_map=of_map,
        destination=_destination(value) if kind == "dnat" else None,
    )


def _destination(value: Any) -> Destination | None:
    if not isinstance(value, dict) or "addr" not in value:
        return None  # only the port changes
    address, port = value["addr"], value.get("port", "")
    return Destination(
        addresses=tuple(_addresses(address)), port=str(port) if isinstance(address, str) else "of a map"
    )


def _addresses(value: Any) -> Iterator[str]:
    """Yield the addresses in an expression: an address, a range, a prefix, or a map of them."""
    if isinstance(value, str) or (isinstance(value, dict) and ("range" in value or "prefix" in value)):
        yield _as_text(value)
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _addresses(item)


def _as_text(value: Any) -> str:
    """Format a value, a range or a prefix as in a Condition. Raises _CannotReadError."""
    if not isinstance(value, dict):
        return str(value)
    if "range" in value:
        return "-".join(map(str, value["range"]))
    if "prefix" in value:
        return f"{value['prefix']['addr']}/{value['prefix']['len']}"
    raise _CannotReadError


def _conditions_of(left: Any, values: tuple[str, ...], *, negated: bool) -> Iterator[Condition]:
    """Yield the comparison of one field, before it the family that a field of an IP header implies."""
    kind = next(iter(left), "") if isinstance(left, dict) else ""
    about: dict[str, Any] = left[kind] if kind and isinstance(left[kind], dict) else {}
    flags: list[str] = about.get("flags", []) if about.get("result") == "type" else []
    name = about.get("field") or about.get("key") or (flags[0] if len(flags) == 1 else "")
    field = _FIELDS.get(f"{kind} {name}", Field.OTHER)
    protocol = about.get("protocol", "")
    is_of_ip = kind == "payload" and protocol in _FAMILIES.values()
    if is_of_ip:
        yield Condition(field=Field.FAMILY, values=(protocol,))
    if field in (Field.SOURCE, Field.DESTINATION, Field.PROTOCOL) and kind == "payload" and not is_of_ip:
        yield _OTHER
        return
    if field == Field.PROTOCOL:
        values = tuple(map(protocol_name, values))
    elif field == Field.FAMILY:
        values = tuple(_FAMILIES.get(value, value) for value in values)
    elif field in (Field.SOURCE_TYPE, Field.DESTINATION_TYPE):
        values = tuple(value.upper() for value in values)
    is_port = field in (Field.PORT, Field.SOURCE_PORT) and protocol != "th"
    yield Condition(field=field, values=values, negated=negated, protocol=protocol if is_port else "")
