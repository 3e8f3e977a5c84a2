"""The diagram shows what is live: every node by its own address, each wire, and what is broken."""

import html
import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from scripts.topology import load

ROOT = Path(__file__).parents[2]
FLAT = load(str(ROOT / "topology/flat.tsv"))


def drawn(tmp_path: Path, broken: str = "true") -> tuple[str, str]:
    """Return the JSON and the SVG of a sandboxed network in which `broken` was run."""
    svg = tmp_path / "topology.svg"
    script = (
        f"scripts/network.sh up >/dev/null && scripts/nat.sh up >/dev/null && {broken} && "
        f"{sys.executable} -m monitoring.diagram --json --svg {svg}"
    )
    done = subprocess.run(
        ["scripts/sandbox.sh", "run", "bash", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, html.unescape(svg.read_text())


def test_every_node_is_shown_by_its_own_address_and_none_by_loopback(tmp_path: Path) -> None:
    shown, svg = drawn(tmp_path)
    for node in FLAT.nodes:
        assert str(node.address) in shown
        assert node.name in svg
        assert node.interface in svg
        assert node.bridge_interface in svg
    assert "127.0.0.1" not in shown + svg
    json.loads(shown)
    ElementTree.fromstring((tmp_path / "topology.svg").read_text())  # noqa: S314  our own file


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        ("ip -n redis-cache link set veth-redis down", "down"),
        ("ip netns del redis-cache", "missing"),
    ],
)
def test_what_is_broken_is_said_in_words(tmp_path: Path, broken: str, word: str) -> None:
    _, whole = drawn(tmp_path)
    _, svg = drawn(tmp_path, broken)
    assert word not in whole
    assert word in svg


def test_without_a_lab_it_says_so_in_one_line() -> None:
    done = subprocess.run(
        ["scripts/sandbox.sh", "run", sys.executable, "-m", "monitoring.diagram"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_a_narrow_terminal_gets_whole_words_in_lines_a_wide_one_a_table() -> None:
    script = "scripts/network.sh up >/dev/null && for columns in 80 200; do "
    script += (
        f'TERM=xterm COLUMNS=$columns script -qec "{sys.executable} -m monitoring.diagram" /dev/null; done'
    )
    done = subprocess.run(
        ["scripts/sandbox.sh", "run", "bash", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    shown = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).replace("\r", "")
    narrow, wide = shown.split("node ", 1)
    assert "\norder-service: up\n" in re.sub("nobody listens.*", "up", narrow)
    assert "  namespace order-service, address 10.0.0.40/16\n" in narrow
    assert "veth-order-s-br = veth-order-s" in wide
    assert "\u2026" not in shown
    assert max(map(len, narrow.splitlines()[:30])) <= 80  # what follows is the other one
