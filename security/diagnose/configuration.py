"""Findings in configurations: the environment that a program got, and nginx's file against its template."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from lab.services import environments
from lab.topology import ROOT, Node
from security.diagnose.finding import Evidence, Finding, Kind
from security.diagnose.observed import RUN_DIR, Observed

_NAMED = re.compile(r" in (/\S+):(\d+)$")  # how nginx names the place of an error
_SERVER = re.compile(r"^\s*server ((?:[0-9.]+|\[[0-9a-f:.]+\]):\d+)", re.MULTILINE)
_EACH = re.compile(r"\bserver ((?:[0-9.]+|\[[0-9a-f:.]+\]):\d+)")
_UPSTREAM = re.compile(r"upstream \w+ \{(.*?)\n    \}", re.DOTALL)
_PLACEHOLDER = re.compile(r"@[A-Z_]+@")


def check_configuration(seen: Observed, node: Node) -> Iterator[Finding]:
    """Yield what differs in one program's configuration."""
    yield from _check_environment(seen, node)
    yield from _check_refused_file(seen, node)
    yield from _check_rendered(seen, node)


def _check_environment(seen: Observed, node: Node) -> Iterator[Finding]:
    """Yield a variable that the program got with another value than the tables give."""
    wanted = environments(seen.topology, seen.programs)[node.name]
    given = seen.environment(node)
    for name, value in wanted.items():
        if given and given.get(name) != value:
            yield _finding(
                node,
                f"{RUN_DIR}/supervisord.conf",
                f"{node.name} was started with {name}={given.get(name, '')}, not {value} as in the tables",
                ("sudo scripts/services.sh up",),
                Evidence(
                    command=f"grep -A 2 'program:{node.name}]' {RUN_DIR}/supervisord.conf",
                    line=f'{name}="{given.get(name, "")}"',
                ),
            )
            return


def _check_refused_file(seen: Observed, node: Node) -> Iterator[Finding]:
    """Yield the file that a program which is not ready refuses to read."""
    if seen.program_states.is_ready(node):
        return
    error = seen.last_error(node)
    if found := _NAMED.search(error):
        yield _finding(
            node,
            _template_of(node, Path(found[1])),
            f"{node.name} does not start: {error}",
            (f"repair line {found[2]}", f"sudo scripts/services.sh restart {node.name}"),
            Evidence(command=f"sudo make logs NODE={node.name}", line=error),
        )


def _template_of(node: Node, file: Path) -> str:
    """Return the file that a file of the container is made from, or that file itself."""
    template = Path("services") / str(node.runs) / f"{file.name}.in"
    return str(template) if (ROOT / template).is_file() else str(file)


def _check_rendered(seen: Observed, node: Node) -> Iterator[Finding]:
    """Yield whether the running configuration differs from its template, or leads to other servers than the table's."""
    template = next((ROOT / "services" / str(node.runs)).glob("*.conf.in"), None)
    place = seen.file_of_option(node, "-c") if template else None
    if not template or not place:
        return
    file, text = place
    pattern = template.read_text(encoding="utf-8")
    known = environments(seen.topology, seen.programs)[node.name].get("GATEWAYS", "").split(",")
    block = _UPSTREAM.search(text)
    servers = sorted(set(_EACH.findall(block[1] if block else "")))
    literal = bool(_SERVER.search(pattern))
    if servers != sorted(known):
        relative = str(template.relative_to(ROOT))
        yield _finding(
            node,
            relative if literal else file,
            f"{node.name} sends requests to {', '.join(servers) or 'no server'}, not to {', '.join(known)}",
            (f"sudo scripts/services.sh restart {node.name}",),
            Evidence(
                command=f"sudo scripts/contain.sh exec {node.name} grep server {file}",
                line=f"server {', '.join(servers)}",
            ),
        )
    elif line := first_difference(pattern, text):
        yield _finding(
            node,
            file,
            f"{node.name} runs with a configuration that differs from its template: {line}",
            (f"sudo scripts/services.sh restart {node.name}",),
            Evidence(command=f"sudo scripts/contain.sh exec {node.name} cat {file}", line=line),
        )


def first_difference(template: str, text: str) -> str:
    """Return the first line of a text that cannot come from its template; empty if there is none."""
    wanted, got = template.splitlines(), text.splitlines()
    for pattern, line in zip(wanted, got, strict=False):
        parts = [re.escape(part) for part in _PLACEHOLDER.split(pattern)]
        if not re.fullmatch(".*".join(parts), line):
            return line.strip()
    return "" if len(wanted) == len(got) else f"{len(got)} lines, not {len(wanted)}"


def _finding(node: Node, file: str, cause: str, repair: tuple[str, ...], evidence: Evidence) -> Finding:
    return Finding(
        kind=Kind.CONFIGURATION,
        object=file,
        place=node.name,
        cause=cause,
        breaks=f"{node.name}, and what needs it",
        repair=repair,
        evidence=(evidence,),
    )
