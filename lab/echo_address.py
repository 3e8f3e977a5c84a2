"""An HTTP server that answers each client with the client's address: `echo_address.py ADDRESS PORT [tcp|udp]`.

verify.sh checks masquerading with it. With udp it sends each datagram back unchanged.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, TCPServer, ThreadingUDPServer


class EchoAddress(BaseHTTPRequestHandler):
    """Answer each GET with the client's address as plain text."""

    def do_GET(self) -> None:
        """Answer one request."""
        body = f"{self.client_address[0]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: the caller prints the result."""


class Server(ThreadingHTTPServer):
    """Bind without the library's DNS lookup of its own name, which a policy may block."""

    def server_bind(self) -> None:
        """Bind to the address."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = sys.argv[1], int(sys.argv[2])


class EchoDatagram(BaseRequestHandler):
    """Send a datagram back."""

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
