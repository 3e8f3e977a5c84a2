"""The learner's attempts, in one local file that is written whole; scores and progress are computed from them."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from faults.exercises.catalogue import Fault
from lab.whole_file import draft_of

_POINTS_PER_LEVEL = 20
_VERSION = 1
_TYPES: dict[str, type] = {"str": str, "int": int, "bool": bool, "Outcome": str}


class ProgressError(Exception):
    """The file of attempts cannot be read or written; the text names it and says what to do."""


class Outcome(StrEnum):
    """How an attempt ended."""

    SOLVED = "solved"
    GAVE_UP = "gave up"
    LEFT = "left"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt at an exercise."""

    exercise: str  # its name, made from its title
    seed: int
    topology: str
    here: bool  # on the lab that was up, not in a sandbox
    began: str  # ISO 8601, UTC
    seconds: int
    outcome: Outcome
    score: int
    points: int  # the highest possible score
    hints: int
    checks: int
    resets: int


@dataclass(frozen=True)
class Progress:
    """What a learner has reached in one exercise."""

    attempts: int = 0
    solved: bool = False
    best_score: int = 0
    best_seconds: int = 0  # of the fastest attempt with the best score
    last: str = ""


def points_of(fault: Fault) -> int:
    """Return the highest score of an exercise."""
    return _POINTS_PER_LEVEL * fault.level


def hint_cost(fault: Fault) -> int:
    """Return what each hint costs: a quarter of the points, so that after all three a quarter is left."""
    return points_of(fault) // (len(fault.hints) + 1)


def progress_of(exercise: str, attempts: Sequence[Attempt]) -> Progress:
    """Return the progress in one exercise."""
    own = [attempt for attempt in attempts if attempt.exercise == exercise]
    solved = [attempt for attempt in own if attempt.outcome == Outcome.SOLVED]
    best = min(solved, key=lambda attempt: (-attempt.score, attempt.seconds), default=None)
    return Progress(
        attempts=len(own),
        solved=bool(solved),
        best_score=best.score if best else 0,
        best_seconds=best.seconds if best else 0,
        last=max((attempt.began for attempt in own), default=""),
    )


def learner() -> str:
    """Return the user's name, not root's if sudo was used."""
    return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name


def attempts_file() -> Path:
    """Return the path of the file: in the user's home, also with sudo."""
    home = Path.home()
    if os.geteuid() == 0 and (user := os.environ.get("SUDO_USER")):
        home = Path(pwd.getpwnam(user).pw_dir)
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    folder = state if state.is_absolute() else home / ".local" / "state"
    return folder / "container-networking-lab" / "exercises.json"


def read_attempts(path: Path) -> list[Attempt]:
    """Return all attempts; none if the file does not exist. Raises ProgressError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("version") != _VERSION:
            raise ValueError(f"it is not of version {_VERSION}")
        return [_attempt(item) for item in content["attempts"]]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ProgressError(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ProgressError(
            f"{path} is damaged: {error}; repair it, or start with an empty one: mv {path} {path}.damaged"
        ) from error


def _attempt(item: dict[str, Any]) -> Attempt:
    attempt = Attempt(**item)
    for one in fields(Attempt):
        value = getattr(attempt, one.name)
        if not isinstance(value, _TYPES[str(one.type)]):
            raise TypeError(f"{one.name} is {value!r}")
    return replace(attempt, outcome=Outcome(attempt.outcome))


def store_attempt(path: Path, attempt: Attempt) -> None:
    """Add an attempt to the file. Raises ProgressError; the file is then as it was."""
    try:
        with _locked(path):
            content = [asdict(one) for one in [*read_attempts(path), attempt]]
            with draft_of(path) as draft:
                text = json.dumps({"version": _VERSION, "attempts": content}, indent=1) + "\n"
                draft.write_text(text, encoding="utf-8")
                _give_to_user(draft)
    except OSError as error:
        raise ProgressError(f"{path}: {error.strerror}") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock beside the file, so that two exercises that end at once are both stored."""
    missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        _give_to_user(folder)
    lock = path.with_suffix(".lock")
    with lock.open("a") as stream:
        _give_to_user(lock)
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _give_to_user(path: Path) -> None:
    if os.geteuid() == 0 and (user := os.environ.get("SUDO_USER")):
        account = pwd.getpwnam(user)
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
