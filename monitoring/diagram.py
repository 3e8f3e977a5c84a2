"""A picture of the running lab beside its table: what is there, what is down, missing or too much.

python -m monitoring.diagram [--json] [--svg FILE] [--png FILE]

Text on the terminal, or JSON; with --svg and --png a drawing by graphviz too. Needs root, to look into
namespaces. Every state is a word and a line style; colour only repeats it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from ipaddress import ip_interface
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from monitoring.live import Lab, Listener, LiveError, Node, Publication, collect, need_root
from scripts import topology
from scripts.topology import Topology, TopologyError

DOWN, MISSING, UNKNOWN = "down", "missing", "not in the table"
STYLES = {DOWN: "bold red", MISSING: "dim", UNKNOWN: "yellow"}
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#6B6B6B"  # told apart by every kind of eye, and in print
ONE_SIDE = 4  # so many nodes fit on one side of the host
LONGEST_LINE = 26  # characters on a card
LINE_HEIGHT, CARD_MARGIN = 15, 26  # points
SCREENS_PER_PIXEL = 192  # dots per inch: twice a screen's, for print


@dataclass(frozen=True)
class Card:
    """What is drawn for a namespace; `remarks` is empty when all is as the table says."""

    name: str
    namespace: str
    bridge: str
    port: str
    interface: str
    addresses: tuple[str, ...] = ()
    listeners: tuple[Listener, ...] = ()
    remarks: tuple[str, ...] = ()

    def programs(self) -> list[str]:
        """Give program:port of each listener."""
        return [f"{listener.program}:{listener.port}" for listener in self.listeners]


@dataclass(frozen=True)
class Picture:
    """The live lab, its nodes laid beside the table's, in the table's order."""

    lab: Lab
    cards: tuple[Card, ...]

    def uplinks(self) -> list[str]:
        """Addresses by which the host is reached from elsewhere: the bridges have theirs to themselves."""
        bridges = {bridge.name for bridge in self.lab.bridges}
        found = (item for item in self.lab.host if item.interface not in bridges)
        return [f"{item.interface} {item.address}" for item in found if _is_telling(item.address)]

    def published(self) -> list[str]:
        """Each published port of the host, and where it leads."""
        return [
            f"{item.host_port}/{item.protocol} \u2192 {self.name_at(item)}:{item.port}"
            for item in self.lab.published
        ]

    def name_at(self, publication: Publication) -> str:
        """Name of the node that a published port leads to, or its bare address."""
        for card in self.cards:
            if publication.address in {address.partition("/")[0] for address in card.addresses}:
                return card.name
        return publication.address


def compose(lab: Lab, table: Topology) -> Picture:
    """Lay the live nodes beside the table's."""
    planned = [card for node in table.nodes for card in _cards_of(node, lab.nodes)]
    unknown = [
        _card(node.namespace, node, (UNKNOWN,)) for node in lab.nodes if not table.node_in(node.namespace)
    ]
    return Picture(lab, (*planned, *unknown))


def _cards_of(planned: topology.Node, nodes: Iterable[Node]) -> list[Card]:
    live = [_card(planned.name, node, ()) for node in nodes if node.namespace == planned.namespace]
    missing = Card(
        name=planned.name,
        namespace=planned.namespace,
        bridge=planned.bridge,
        port=planned.bridge_interface,
        interface=planned.interface,
        addresses=(str(planned.address),),
        remarks=(MISSING,),
    )
    return live or [missing]


def _card(name: str, node: Node, remarks: tuple[str, ...]) -> Card:
    return Card(
        name=name,
        namespace=node.namespace,
        bridge=node.bridge or "",
        port=node.port,
        interface=node.interface,
        addresses=tuple(filter(_is_telling, node.addresses)),
        listeners=node.listeners,
        remarks=remarks if node.up else (*remarks, DOWN),
    )


def _is_telling(address: str) -> bool:
    """Tell whether people would use it; every interface has an IPv6 link-local one."""
    parsed = ip_interface(address)
    return parsed.version == 4 or not parsed.is_link_local  # noqa: PLR2004 - IPv4


# --- text ----------------------------------------------------------------------------------------


def show(picture: Picture, console: Console) -> None:
    """Print the picture: a table on a terminal, bare columns into a pipe."""
    if console.is_terminal:
        console.print(*_heads(picture), _table(picture), sep="\n")
        return
    console.width = max(len(str(line)) for line in _heads(picture)) + 1000  # a pipe has no edge
    with console.capture() as captured:
        console.print(*_heads(picture), "", _table(picture), sep="\n")
    print(*(line.rstrip() for line in captured.get().splitlines()), sep="\n")


def _heads(picture: Picture) -> list[Text]:
    lines = [("host", uplink) for uplink in picture.uplinks()]
    lines += [("bridge", " ".join(_bridge_words(picture.lab, name))) for name in _bridge_names(picture)]
    lines += [("published", publication) for publication in picture.published()]
    return [Text.assemble((f"{kind:<11}", "bold"), text) for kind, text in lines]


def _table(picture: Picture) -> Table:
    columns = ("node", "namespace", "address", "listens", "veth pair", "state")
    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False) if sys.stdout.isatty() else Table(*columns, box=None)
    for card in picture.cards:
        table.add_row(*(Text(cell, style=_style(card)) for cell in _cells(card)))
    return table


def _cells(card: Card) -> Iterator[str]:
    yield from (card.name, card.namespace)
    yield from (" ".join(card.addresses) or "-", " ".join(card.programs()) or "-")
    yield f"{card.port} = {card.interface}"
    yield ", ".join(card.remarks) or "up"


def _style(card: Card) -> str:
    return STYLES[card.remarks[-1]] if card.remarks else ""
