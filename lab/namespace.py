"""Open sockets in other network namespaces: a socket stays in the namespace where it was opened (setns(2))."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from lab.netlink import enter


@contextmanager
def inside(namespace: str | None) -> Iterator[None]:
    """Enter a named network namespace, and leave it at the end; None: stay in this one. Raises OSError."""
    if namespace is None:
        yield
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        enter(f"/run/netns/{namespace}")
        yield
    finally:
        enter(f"/proc/self/fd/{home}")
        os.close(home)
