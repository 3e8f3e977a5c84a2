"""The dashboard's map without a browser: where nodes are, also of many instances."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from lab.topology import ROOT, load
from monitoring.dashboard import style
from monitoring.dashboard.model import Place, Scene, Way, positions


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


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("instances", [3, 6, 7, 24])
def test_nodes_do_not_overlap_and_columns_leave_room_for_labels(
    instances: int, narrow: bool, tmp_path: Path
) -> None:
    found = style.elements(scene_with(instances, tmp_path), narrow=narrow, checks=False)
    nodes = [one for one in found if "position" in one]
    assert len(nodes) == instances + 8
    for one, other in combinations(nodes, 2):
        apart = [abs(one["position"][axis] - other["position"][axis]) for axis in "xy"]
        size = [one["data"][side] for side in ("width", "height")]
        assert apart[0] >= size[0] or apart[1] >= size[1], (one["data"]["id"], other["data"]["id"])
        assert narrow or apart[0] == 0 or apart[0] - size[0] >= 100


def test_of_many_instances_each_takes_a_line_and_edges_are_labelled_when_chosen(tmp_path: Path) -> None:
    scene = scene_with(24, tmp_path)
    found = style.elements(scene, narrow=False, checks=False)
    assert {one["classes"] for one in found if "source" in one["data"]} == {"unlabelled"}
    assert all("\n" not in one["data"]["label"] for one in found if "position" in one)
    assert style.map_height(scene) < 1000
    assert style.map_height(scene_with(3, tmp_path)) < 450


def test_heartbeats_are_left_out_unless_they_are_asked_for(tmp_path: Path) -> None:
    scene = scene_with(3, tmp_path)
    beats = Way("api-gateway", "service-registry", True, 1.0, 100.0, 0.0)
    with_beats = Scene(scene.places, (*scene.ways, beats), (), (), Counter(), None, ())
    ids = [
        {one["data"]["id"] for one in style.elements(with_beats, narrow=False, checks=checks)}
        for checks in (False, True)
    ]
    assert ids[1] - ids[0] == {"api-gateway|service-registry"}
