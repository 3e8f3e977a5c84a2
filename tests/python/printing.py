"""What tcpdump prints of a capture, alike on every machine: in UTC, and without a network to ask a name server in."""

from __future__ import annotations

import os
import subprocess

_WITHOUT_NETWORK = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--net"]


def printed(capture: bytes, *options: str) -> bytes:
    """Print a capture with the tcpdump that is installed."""
    command = [*_WITHOUT_NETWORK, "tcpdump", *options, "-r", "-"]
    environment = {**os.environ, "TZ": "UTC"}
    return subprocess.run(command, input=capture, capture_output=True, check=True, env=environment).stdout
