"""Prints the prefix of each packet that the drop chains tell of, a line each, until it is ended."""

from __future__ import annotations

import select

from security.policy.drops import NFLOG_GROUP
from security.proof.nflog import DropLog


def main() -> None:
    """Listen for ever."""
    log = DropLog(NFLOG_GROUP)
    print("listening", flush=True)
    while True:
        select.select([log.socket], [], [])
        for logged in log.read():
            print(logged.prefix.strip(), flush=True)


if __name__ == "__main__":
    main()
