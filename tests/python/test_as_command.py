"""A module that runs as a command ends as one: Ctrl+C and a closed pipe leave no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
WITHOUT_READER = "import os\nr, w = os.pipe(); os.dup2(w, 1); os.close(r); os.close(w)"


def run(
    tmp_path: Path, program: str, reader: str, output: str = "/dev/stdout"
) -> subprocess.CompletedProcess[str]:
    (tmp_path / "program.py").write_text(program)
    command = (
        f'"{sys.executable}" -m lab.as_command program one two >{output} | {reader}; exit ${{PIPESTATUS[0]}}'
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment
    )


@pytest.mark.parametrize(
    ("program", "reader", "status"),
    [
        ("raise KeyboardInterrupt", "cat", 130),
        ("def begin():\n    raise KeyboardInterrupt\nbegin()", "cat", 130),
        ("while True:\n    print('x' * 1000)", "head -c 1", 141),
        (f"{WITHOUT_READER}\nprint('flushed at the end')", "cat", 141),
        ("import sys\nsys.exit(3)", "cat", 3),
        ("import sys\nsys.exit(0 if sys.argv[1:] == ['one', 'two'] else 1)", "cat", 0),
    ],
)
def test_a_command_ends_without_a_traceback(tmp_path: Path, program: str, reader: str, status: int) -> None:
    done = run(tmp_path, program, reader)
    assert (done.returncode, done.stderr) == (status, "")


def test_a_full_disk_is_named_in_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, "print('flushed at the end')", "cat", output="/dev/full")
    assert done.returncode == 1
    assert done.stderr == "program: not all of it could be written: No space left on device\n"


def test_any_other_error_is_shown(tmp_path: Path) -> None:
    done = run(tmp_path, "raise ValueError('what is wrong')", "cat")
    assert done.returncode == 1
    assert "ValueError: what is wrong" in done.stderr
