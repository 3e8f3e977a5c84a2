"""The dashboard's map without a browser: where nodes are, also of many instances."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations, islice
from pathlib import Path

import pytest

from lab.topology import ROOT, load
from monitoring.dashboard import grid, style
from monitoring.dashboard.model import Blocked, Model, Place, Scene, Way, positions


def scene_with(instances: int, folder: Path) -> Scene:
    """Return the scene of the flat lab with so many instances of the product service in all."""
    lines = [
        f"node\tproduct-{number}\tproduct{number}\t10.0.1.{number}/16\tveth-p{number}\tveth-p{number}-br\tbr-app"
        "\t5000/tcp\t-\tproduct-service\n"
        for number in range(4, instances + 1)
    ]
    table = folder / "many.tsv"
    table.write_text((ROOT / "topology" / "flat.tsv").read_text() + "".join(lines))
    columns, rows = positions(load(table))
    places = tuple(Place(name, column, rows[name], None, 0.0) for name, column in columns.items())
    ways = tuple(
        Way("api-gateway", f"product-{number}", False, 9.0, 900.0, 1.0) for number in range(1, instances + 1)
    )
    return Scene(places, ways, (), (), Counter(), None, ())


@pytest.mark.parametrize("width", [grid.NARROW, grid.WIDE, grid.LARGE])
@pytest.mark.parametrize("instances", [3, 6, 7, 24])
def test_nodes_do_not_overlap_and_columns_leave_room_for_labels(
    instances: int, width: str, tmp_path: Path
) -> None:
    found = style.elements(scene_with(instances, tmp_path), width=width, checks=False)
    nodes = [one for one in found if "position" in one]
    assert len(nodes) == instances + 8
    for one, other in combinations(nodes, 2):
        apart = [abs(one["position"][axis] - other["position"][axis]) for axis in "xy"]
        size = [one["data"][side] for side in ("width", "height")]
        assert apart[0] >= size[0] or apart[1] >= size[1], (one["data"]["id"], other["data"]["id"])
        assert width == grid.NARROW or apart[0] == 0 or apart[0] - size[0] >= 100


def test_of_many_instances_each_takes_a_line_and_edges_are_labelled_when_chosen(tmp_path: Path) -> None:
    scene = scene_with(24, tmp_path)
    found = style.elements(scene, width=grid.WIDE, checks=False)
    assert {one["classes"] for one in found if "source" in one["data"]} == {"unlabelled"}
    assert all("\n" not in one["data"]["label"] for one in found if "position" in one)
    assert grid.map_height(scene, grid.WIDE) < 1000
    assert grid.map_height(scene_with(3, tmp_path), grid.WIDE) < 450


@pytest.mark.parametrize("instances", [3, 7, 24])
def test_on_a_phone_the_names_have_ten_points_and_a_tier_wraps(instances: int, tmp_path: Path) -> None:
    scene = scene_with(instances, tmp_path)
    sizes = grid.grid_of(scene, grid.NARROW)
    across = [x for x, _ in grid.find_positions(scene, grid.NARROW).values()]
    zoom = (372 - 2 * sizes.padding) / (max(across) - min(across) + sizes.width)
    assert zoom * sizes.font >= 10


@pytest.mark.parametrize(("flows", "classes"), [(6, "dropped"), (7, "dropped unlabelled")])
def test_many_dropped_flows_at_once_have_no_labels(flows: int, classes: str, tmp_path: Path) -> None:
    scene = scene_with(3, tmp_path)
    names = [place.name for place in scene.places]
    blocked = tuple(Blocked(*pair, "default", 9) for pair in islice(combinations(names, 2), flows))
    found = style.elements(replace(scene, ways=(), blocked=blocked), width=grid.WIDE, checks=False)
    assert [one["classes"] for one in found if "source" in one["data"]] == [classes] * flows


def test_heartbeats_are_left_out_unless_they_are_asked_for(tmp_path: Path) -> None:
    scene = scene_with(3, tmp_path)
    beats = Way("api-gateway", "service-registry", True, 1.0, 100.0, 0.0)
    with_beats = Scene(scene.places, (*scene.ways, beats), (), (), Counter(), None, ())
    ids = [
        {one["data"]["id"] for one in style.elements(with_beats, width=grid.WIDE, checks=checks)}
        for checks in (False, True)
    ]
    assert ids[1] - ids[0] == {"api-gateway|service-registry"}


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("fd00:cafe::10", "nginx-lb"),
        ("fd00:cafe::1", "host"),
        ("fd00:cafe::99", ""),  # an unused address of the lab
        ("ff02::1:ff00:10", ""),
        ("fe80::2", ""),
        ("::", ""),
        ("2001:db8::1", "world"),
        ("203.0.113.2", "world"),
        ("10.0.0.99", ""),
    ],
)
def test_an_address_of_either_family_belongs_to_a_place(address: str, place: str) -> None:
    assert Model(load("dual")).place_of(address) == place
