"""Where an exercise takes place: a lab in a sandbox, or the lab that is up. Run commands there, break it, reset it."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote

from faults.exercises.behaviour import Behaviour
from faults.exercises.catalogue import CATALOGUE, Fault
from faults.exercises.learner import paused
from lab.topology import ROOT

COMMANDS = ("check", "hint", "explain", "give-up", "reset", "symptom", "help")
FOLDER = Path(
    "/run/exercise"
)  # of the socket and of the shell's settings; scripts/sandbox.sh enter reads these
UP = ("security/policy.sh", "scripts/network.sh", "scripts/nat.sh", "scripts/services.sh")
# Only these variables of the caller reach the exercise: others may name its folder, which reveals the cause.
_ENVIRONMENT = frozenset(
    {"HOME", "USER", "LOGNAME", "SHELL", "PATH", "TERM", "COLORTERM", "LANG", "LC_ALL"}
    | {"EDITOR", "VISUAL", "NO_COLOR", "SUDO_USER"}
)
_BASH = shutil.which("bash") or "/bin/bash"
_HIDDEN_NAME = "exercise"  # of the fault's folder in the sandbox, while a command of it runs


class PlaceError(Exception):
    """The lab cannot be used; the text says why."""


def clean_environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for what runs in an exercise."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return kept | dict(variables or {})


class Place(ABC):
    """A lab that an exercise breaks. `variables` are those of the fault; the shell and the tools do not get them."""

    reset_words: str  # what `reset` has done

    def __init__(self, fault: Fault, variables: Mapping[str, str]) -> None:
        self.fault, self.variables = fault, variables

    @property
    @abstractmethod
    def prefix(self) -> Sequence[str]:
        """Return the words before a command that runs it in the lab's namespaces."""

    @property
    @abstractmethod
    def files(self) -> Path:
        """Return FOLDER as this process sees it."""

    @abstractmethod
    def prepare(self) -> None:
        """Make sure that a lab is up, and that all of it works. Raises PlaceError."""

    @abstractmethod
    def break_lab(self) -> None:
        """Run break.sh. Raises PlaceError."""

    @abstractmethod
    def reset(self) -> None:
        """Make the lab well, and break it again. Raises PlaceError."""

    @abstractmethod
    def uncover(self) -> None:
        """Let the learner use what names the cause."""

    @abstractmethod
    def close(self) -> None:
        """Leave the place as it was."""

    def run(
        self, *words: str, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the lab's namespaces, with what it prints in the result."""
        return subprocess.run(
            [*self.prefix, *words],
            env=clean_environment(variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )

    def script(self, path: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the repository."""
        return self.run(f"{ROOT}/{path}", *words)

    def behaviours(self) -> list[Behaviour]:
        """Return what works and what does not. Raises PlaceError if the lab is so broken that nothing can be tried."""
        done = self.script("faults/exercise.sh", "check", "all", "--json")
        try:
            items = json.loads(done.stdout)
        except ValueError:
            said = done.stderr.strip().splitlines()
            raise PlaceError(said[-1] if said else "the check was ended") from None
        return [Behaviour(item["name"], item["works"], item["detail"]) for item in items]

    def shell(self) -> int:
        """Run the learner's shell on this terminal until it ends."""
        (self.files / "rc").write_text(shell_settings(self.fault), encoding="utf-8")
        command = [*self.prefix, _BASH, "--rcfile", f"{FOLDER}/rc", "-i"]
        return subprocess.run(command, env=clean_environment(), check=False).returncode

    def _run_fault(self, name: str, function: str) -> subprocess.CompletedProcess[str]:
        commands = f"{ROOT}/faults/exercises/commands.sh"
        return self.run(commands, name, function, variables=self.variables)

    def _need(self, done: subprocess.CompletedProcess[str], what: str) -> None:
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise PlaceError(f"{what} failed: {said[-1] if said else f'status {done.returncode}'}")


def shell_settings(fault: Fault) -> str:
    """Return the file that the shell reads: its prompt, its history, and the exercise's commands as functions."""
    ask = f"/usr/bin/python3 -IS {quote(f'{ROOT}/faults/exercises/ask.py')} {FOLDER}/socket"
    functions = [f'{name}() {{ {ask} {name} "$@"; }}' for name in COMMANDS]
    return "\n".join(
        [
            f"PS1='[exercise {fault.slug}] \\w # '",
            f"HISTFILE={FOLDER}/history",
            f"cd -- {quote(str(ROOT))}",
            "unset OLDPWD",
            f". {quote(f'{ROOT}/scripts/lib/sudo.sh')}",
            *functions,
            "",
        ]
    )


class Sandbox(Place):
    """A lab in a sandbox, which ends with this process: its first program reads a pipe that only this process holds."""

    def __init__(self, fault: Fault, variables: Mapping[str, str]) -> None:
        super().__init__(fault, variables)
        self._process = subprocess.Popen(
            [f"{ROOT}/scripts/sandbox.sh", "run", _BASH, "-c", "echo started; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment({name: os.environ[name] for name in ("PUBLISH",) if os.environ.get(name)}),
            cwd="/",
            start_new_session=True,  # Ctrl+C is for the shell
        )
        assert self._process.stdout  # noqa: S101 - a pipe
        assert self._process.stderr  # noqa: S101 - a pipe
        if self._process.stdout.readline() != b"started\n":
            said = self._process.stderr.read().decode(errors="replace").strip().splitlines()
            raise PlaceError(said[-1] if said else "the sandbox did not start")
        self.pid = self._first_process()
        self._saved = b""

    def _first_process(self) -> int:
        command = ["pgrep", "--parent", str(self._process.pid)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])

    @property
    def prefix(self) -> Sequence[str]:
        """Return nsenter, without --wd: that folder would be one of the machine's mounts, where nothing is hidden."""
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(self.pid), "--net", "--mount", "--ipc", "--uts", "--pid", *user]

    @property
    def files(self) -> Path:
        """Return FOLDER in the sandbox."""
        return Path(f"/proc/{self.pid}/root{FOLDER}")

    def prepare(self) -> None:
        """Hide the catalogue, bring the lab up with its progress on this terminal, and keep its state."""
        up = [*self.prefix, f"{ROOT}/faults/exercise.sh", "up_inside"]
        environment = clean_environment({"TOPOLOGY": self.variables["TOPOLOGY"]})
        if subprocess.run(up, env=environment, stdin=subprocess.DEVNULL, check=False).returncode:
            raise PlaceError("the lab did not come up; the lines above say why")
        self._need(
            self.script("faults/exercises/state.sh", "save", f"{CATALOGUE}/state"), "saving the lab's state"
        )
        self._saved = self._tar("--create", "state")
        self.run("rm", "-r", f"{CATALOGUE}/state")

    @contextmanager
    def _revealed(self) -> Iterator[None]:
        """Put the fault and the saved state where the catalogue is hidden, as long as commands of them run."""
        try:
            self._tar("--extract", packed=self._saved)
            self._tar("--extract", packed=_packed(self.fault.folder))
            yield
        finally:
            self.run("rm", "-rf", f"{CATALOGUE}/state", f"{CATALOGUE}/{_HIDDEN_NAME}")

    def _tar(self, *words: str, packed: bytes = b"") -> bytes:
        """Pack or unpack what is in the hidden folder; tar runs inside, where a user is root."""
        command = [*self.prefix, "tar", "--directory", str(CATALOGUE), *words]
        done = subprocess.run(
            command, env=clean_environment(), input=packed, stdout=subprocess.PIPE, check=True
        )
        return done.stdout

    def break_lab(self) -> None:
        """Run break.sh."""
        with self._revealed():
            self._need(self._run_fault(_HIDDEN_NAME, "break"), "breaking the lab")

    reset_words = "the lab is as it was when the exercise began; your changes are undone"

    def reset(self) -> None:
        """Undo the break, restore the saved state, and break again."""
        with paused(self.pid), self._revealed():
            self._run_fault(_HIDDEN_NAME, self.fault.repairs[0])  # fails if the learner repaired it
            state = str(CATALOGUE / "state")
            self._need(self.script("faults/exercises/state.sh", "restore", state), "restoring the lab")
            self._need(self._run_fault(_HIDDEN_NAME, "break"), "breaking the lab")

    def start_page(self, port: int) -> str:
        """Start the dashboard with its terminal; return its URL. Raises PlaceError."""
        variables = {"TERMINAL": "1", "DASHBOARD_PORT": str(port), "CNET_EXERCISE": str(FOLDER)}
        done = self.run(f"{ROOT}/monitoring/dashboard.sh", "up", variables=variables)
        self._need(done, "starting the page")
        return done.stderr.split()[-1]

    def uncover(self) -> None:
        """Let the learner use `make diagnose`; the catalogue stays hidden."""
        self.run("umount", "-l", f"{ROOT}/scripts/diagnose.sh")

    def close(self) -> None:
        """End the sandbox with all that runs in it."""
        with suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _packed(folder: Path) -> bytes:
    """Return a folder as a tar archive; its files belong to root there."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path in sorted(folder.iterdir()):
            content = path.read_bytes()
            entry = tarfile.TarInfo(f"{_HIDDEN_NAME}/{path.name}")
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()
