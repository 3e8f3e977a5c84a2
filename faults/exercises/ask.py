"""Send a command of an exercise's shell to its server, and print the answer: check, hint, reset ...

python3 ask.py SOCKET COMMAND [--json]

The shell's functions call it. It knows nothing of the exercise: the server is outside of the sandbox.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys


def main() -> int:
    """Print the answer as it comes; return the status that the server sends last."""
    path, command, *rest = sys.argv[1:]
    request = {
        "command": command,
        "arguments": rest,
        "width": shutil.get_terminal_size((120, 24)).columns,
        "terminal": sys.stdout.isatty(),
        "colour": sys.stdout.isatty() and not os.environ.get("NO_COLOR"),
    }
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(path)
            server.sendall(json.dumps(request).encode() + b"\n")
            with server.makefile("rb") as answers:
                for line in answers:
                    answer = json.loads(line)
                    if "status" in answer:
                        return int(answer["status"])
                    print(answer["text"], end="", flush=True)
    except KeyboardInterrupt:
        return 130
    except OSError:
        pass
    print(f"{command}: the exercise has ended; leave this shell: exit", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
