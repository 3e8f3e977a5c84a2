"""Forward ports of the machine's loopback into a sandbox, for a browser; for scripts/sandbox.sh.

python3 publish.py open PORT[:SANDBOX_PORT],... COMMAND...   listen on 127.0.0.1, then become COMMAND
python3 publish.py relay                                     in the sandbox: forward connections to its 127.0.0.1

A socket stays in the network namespace where it was created (network_namespaces(7)): the relay runs in the sandbox,
accepts connections to the machine's loopback, and connects within the sandbox. It ends with the sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import sys

SOCKETS = "CNET_PUBLISHED"  # FD:SANDBOX_PORT,... from `open` to `relay`
MAX_PORT = 65535


def listen(publication: str) -> str:
    """Listen on one port of the machine; return "FD:SANDBOX_PORT". Exit with a message if that fails."""
    found = re.fullmatch(r"(\d{1,5})(?::(\d{1,5}))?", publication)
    port, inside = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not (0 < port <= MAX_PORT and 0 < inside <= MAX_PORT):
        sys.exit(f'sandbox.sh: PUBLISH: "{publication}" is not PORT or PORT:SANDBOX_PORT')
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        sys.exit(
            f"sandbox.sh: PUBLISH: cannot listen on 127.0.0.1:{port}: {os.strerror(error.errno or 0)}; "
            f"use another port of the machine: PUBLISH={port % MAX_PORT + 1}:{inside}"
        )
    listener.set_inheritable(True)
    return f"{listener.detach()}:{inside}"


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction until its end, then close that direction of the other side."""
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def serve(descriptor: int, port: int) -> None:
    """Accept connections on a listening socket, and forward each to a port of the sandbox."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):  # no listener in the sandbox yet: close the client's connection
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))
            inner_writer.close()
        writer.close()

    server = await asyncio.start_server(forward, sock=socket.socket(fileno=descriptor))
    await server.serve_forever()


async def relay(published: str) -> None:
    """Serve all published ports until the sandbox ends."""
    await asyncio.gather(*(serve(*map(int, item.split(":"))) for item in published.split(",")))


if __name__ == "__main__":
    if sys.argv[1] == "relay":
        asyncio.run(relay(os.environ[SOCKETS]))
    os.environ[SOCKETS] = ",".join(listen(item) for item in sys.argv[2].split(","))
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606  becoming the sandbox is the purpose
