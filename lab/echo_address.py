"""An HTTP server that answers each client with the address it sees: `echo_address.py ADDRESS PORT [tcp|udp]`.

What a node looks like from outside is what masquerading is about; verify.sh asks this server. With udp, it sends each
datagram back as it is.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, TCPServer, ThreadingUDPServer


class EchoAddress(BaseHTTPRequestHandler):
    """Answers every GET with the client's address as plain text."""

    def do_GET(self) -> None:
        """Answer one request."""
        body = f"{self.client_address[0]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: the caller prints what it saw."""


class Server(ThreadingHTTPServer):
    """Listens at once: the one of the library first asks DNS for its own name, which a policy may keep from it."""

    def server_bind(self) -> None:
        """Bind to the address."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = sys.argv[1], int(sys.argv[2])


class EchoDatagram(BaseRequestHandler):
    """Sends a datagram back."""

    def handle(self) -> None:
        """Answer one datagram."""
        data, socket = self.request
        socket.sendto(data, self.client_address)


if __name__ == "__main__":
    address = (sys.argv[1], int(sys.argv[2]))
    if sys.argv[3:] == ["udp"]:
        ThreadingUDPServer(address, EchoDatagram).serve_forever()
    else:
        Server(address, EchoAddress).serve_forever()
