"""Charts and diagrams: fonts that are readable in print, sizes of a page, as many wires as the table has."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lab.document import Document, Picture, Rows, Section
from lab.document_files import write_pdf
from lab.figures import PAGE_WIDTH, plt, save
from lab.topology import Topology, load
from monitoring.distribution import IDLE_SECONDS, LAST_SECONDS, spans_of
from monitoring.drawing import boxes_of, dot_source
from monitoring.live import Bridge, Lab, Node
from monitoring.picture import Picture as LabPicture
from monitoring.picture import compose
from monitoring.policy_drawing import policy_edges, policy_source
from security.policy.table import load as load_policy

ROOT = Path(__file__).parents[2]
A4_LANDSCAPE = (770, 523)  # points between margins
SMALLEST = 9  # points
TABLES = [load(str(ROOT / f"topology/{name}.tsv")) for name in ("flat", "tiers")]


def test_a_font_that_is_too_small_in_print_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    figure, axes = plt.subplots(figsize=(4, 3))
    axes.set_title("small", fontsize=8.5)
    with pytest.raises(ValueError, match=r'chart.png: "small" has 8.5 points'):
        save(figure, tmp_path / "chart.png")
    assert list(tmp_path.iterdir()) == []
    axes.set_title("readable", fontsize=9)
    save(figure, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").is_file()


def test_a_chart_wider_than_a_page_would_be_shrunk_and_is_refused(tmp_path: Path) -> None:
    figure, _ = plt.subplots(figsize=(PAGE_WIDTH + 0.1, 3))
    with pytest.raises(ValueError, match="inches wide"):
        save(figure, tmp_path / "chart.png")


def test_a_picture_is_printed_at_its_own_size_and_a_larger_one_than_a_page_refused(tmp_path: Path) -> None:
    for height in (5, 7):
        figure, _ = plt.subplots(figsize=(8, height))
        save(figure, tmp_path / f"{height}.png")
    fits, tall = (
        Document("One", "made", [Section("Picture", [Picture(tmp_path / f"{height}.png", "a chart")])])
        for height in (5, 7)
    )
    write_pdf(fits, tmp_path / "one.pdf")
    images = subprocess.run(
        ["pdfimages", "-list", tmp_path / "one.pdf"], capture_output=True, text=True, check=True
    )
    columns = images.stdout.splitlines()[-1].split()
    assert columns[12:14] == ["130", "130"]  # dots an inch on paper, as in the file
    with pytest.raises(ValueError, match="larger than a page"):
        write_pdf(tall, tmp_path / "two.pdf")


def test_a_raw_name_is_no_heading_of_a_table() -> None:
    with pytest.raises(ValueError, match=r'"duration_seconds" is a raw name'):
        Rows(("metric", "duration_seconds"), [], (1, 1))


def test_numbers_in_cells_have_separators_and_two_decimals() -> None:
    assert Rows(("a",), [(32.901085,), (1234567.0,), (1500,)], (1,)).texts() == [
        ["32.90"],
        ["1,234,567"],
        ["1,500"],
    ]


# --- diagrams ------------------------------------------------------------------------------------


def live(table: Topology, *extra: Node) -> LabPicture:
    """Return the picture of a lab that is as its table says, with `extra` wires."""
    wires: dict[str, Node] = {}
    for node in table.nodes:
        known = wires.get(node.bridge_interface)
        addresses = (*(known.addresses if known else ()), str(node.address))
        wires[node.bridge_interface] = Node(
            node.namespace, node.interface, addresses, node.bridge_interface, node.bridge, True, ()
        )
    bridges = tuple(Bridge(bridge.name, (str(bridge.address),), True) for bridge in table.bridges)
    return compose(Lab((), bridges, (*wires.values(), *extra), ()), table)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.path.stem)
def test_there_are_as_many_cables_and_boxes_as_wires_and_namespaces_in_the_table(table: Topology) -> None:
    source = dot_source(live(table))
    cables = [line for line in source.splitlines() if " -- " in line]
    assert len(cables) == len({node.bridge_interface for node in table.nodes})
    assert len(re.findall(r"^  box\d+ ", source, re.MULTILINE)) == len(
        {node.namespace for node in table.nodes}
    )
    for bridge in table.bridges:
        count = len({node.bridge_interface for node in table.nodes if node.bridge == bridge.name})
        assert f"{bridge.address}</B><BR/>{count} veth pair" in source
    assert source.count("routed by the host") == len(table.bridges) - 1


def test_a_namespace_with_two_wires_is_one_box_with_both() -> None:
    table = TABLES[1]
    node = table.nodes[0]
    second = Node(node.namespace, "veth-two", (), "veth-two-br", table.bridges[1].name, True, ())
    (box,) = (box for box in boxes_of(live(table, second)) if box.namespace == node.namespace)
    assert [wire.card.interface for wire in box.wires] == [node.interface, "veth-two"]
    assert len([line for line in dot_source(live(table, second)).splitlines() if " -- " in line]) == 4


def test_a_bridge_from_which_the_host_does_not_forward_is_said_not_to_be_routed() -> None:
    picture = live(TABLES[1])
    bridges = tuple(
        Bridge(b.name, b.addresses, True, b != picture.lab.bridges[0]) for b in picture.lab.bridges
    )
    source = dot_source(LabPicture(Lab((), bridges, picture.lab.nodes, ()), picture.cards))
    assert "not routed: forwarding is off on br-frontend" in source
    assert "routed by the host" not in source


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.path.stem)
@pytest.mark.parametrize("what", ["topology", "policy"])
def test_a_diagram_fits_a_page_with_readable_text_and_is_no_ribbon(what: str, table: Topology) -> None:
    source = dot_source(live(table)) if what == "topology" else policy_source(load_policy(table))
    svg = subprocess.run(["dot", "-Tsvg"], input=source, capture_output=True, text=True, check=True).stdout
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own file
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    background = next(shape for shape in root.iter() if shape.tag.endswith("}polygon"))
    assert background.attrib["fill"] == "white"  # a reader's page may be dark
    assert 1 / 1.6 < width / height < 2.4
    scale = min(1, A4_LANDSCAPE[0] / width, A4_LANDSCAPE[1] / height)
    fonts = {float(text.attrib["font-size"]) for text in root.iter() if text.tag.endswith("}text")}
    assert min(fonts) * scale >= SMALLEST, f"{min(fonts)} points times {scale:.2f}"


def test_every_line_of_the_policy_has_an_arrow_and_a_dropped_one_a_bar() -> None:
    for table in TABLES:
        policy = load_policy(table)
        source = policy_source(policy)
        arrows = {(destination, line.id) for _, destination, line in policy_edges(policy)}
        assert source.count(" -> item") == len(arrows)
        dropped = sum(line.verdict == "drop" for _, line in {(d, one) for _, d, one in policy_edges(policy)})
        assert source.count("arrowhead=tee") == dropped


# --- the time that a picture shows ----------------------------------------------------------------


def test_a_burst_after_an_hour_of_idle_time_is_drawn_without_that_hour() -> None:
    times = [*range(0, 20), *range(3600, 3614)]
    assert spans_of([float(time) for time in times]) == [(0, 19), (3600, 3613)]
    assert spans_of([0.0, IDLE_SECONDS]) == [(0, IDLE_SECONDS)]
    assert spans_of([0.0]) == [(0, 0)]


def test_of_an_hour_without_a_pause_the_last_minutes_are_drawn() -> None:
    ((begin, end),) = spans_of([float(time) for time in range(3600)])
    assert (begin, end) == (3599 - LAST_SECONDS, 3599)
