"""Lead ports of the host's loopback into a sandbox, for a browser; for scripts/sandbox.sh.

python3 publish.py open PORT[:SANDBOX_PORT],... COMMAND...   listen on 127.0.0.1, then become COMMAND
python3 publish.py relay                                     in the sandbox: pass connections on to its 127.0.0.1

A socket stays in the network namespace where it was made, whoever holds it: the relay runs in the sandbox, accepts what
comes to the host's loopback, and connects within the sandbox. It ends with the sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import sys

SOCKETS = "CNET_PUBLISHED"  # FD:SANDBOX_PORT,... from `open` to `relay`
MOST_PORT = 65535


def listen(publication: str) -> str:
    """Open one port of the host; return "FD:SANDBOX_PORT". Exits with a message if that cannot be."""
    found = re.fullmatch(r"(\d{1,5})(?::(\d{1,5}))?", publication)
    port, inside = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not (0 < port <= MOST_PORT and 0 < inside <= MOST_PORT):
        sys.exit(f'sandbox.sh: PUBLISH: "{publication}" is not PORT or PORT:SANDBOX_PORT')
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        sys.exit(
            f"sandbox.sh: PUBLISH: cannot listen on 127.0.0.1:{port}: {os.strerror(error.errno or 0)}; "
            f"take another port of the host: PUBLISH={port % MOST_PORT + 1}:{inside}"
        )
    listener.set_inheritable(True)
    return f"{listener.detach()}:{inside}"


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction until its end; then say so to the other side."""
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def serve(descriptor: int, port: int) -> None:
    """Accept on a listening socket for ever, each connection to one of the sandbox's own ports."""

    async def lead_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):  # nobody listens there yet: the client sees its connection closed
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))
            inner_writer.close()
        writer.close()

    server = await asyncio.start_server(lead_in, sock=socket.socket(fileno=descriptor))
    await server.serve_forever()


async def relay(published: str) -> None:
    """Serve all published ports until the sandbox ends."""
    await asyncio.gather(*(serve(*map(int, each.split(":"))) for each in published.split(",")))


if __name__ == "__main__":
    if sys.argv[1] == "relay":
        asyncio.run(relay(os.environ[SOCKETS]))
    os.environ[SOCKETS] = ",".join(listen(each) for each in sys.argv[2].split(","))
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606  it is the sandbox that is asked for
