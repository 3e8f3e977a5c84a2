"""An HTTP server that answers each client with the client's address: `echo_address.py ADDRESS PORT [tcp|udp]`.

verify.sh checks masquerading with it. With udp it sends each datagram back unchanged.
"""

import sys
from socket import AF_INET, AF_INET6
from socketserver import BaseRequestHandler, StreamRequestHandler, ThreadingTCPServer, ThreadingUDPServer


class EchoAddress(StreamRequestHandler):
    """Answer a request, which ends with an empty line, with the client's address as plain text."""

    def handle(self) -> None:
        """Answer one request; a client that sends none gets no answer."""
        for line in self.rfile:
            if not line.strip():
                self.wfile.write(f"HTTP/1.0 200 OK\r\n\r\n{self.client_address[0]}\n".encode())
                break


class EchoDatagram(BaseRequestHandler):
    """Send a datagram back."""

    def handle(self) -> None:
        """Answer one datagram."""
        data, socket = self.request
        socket.sendto(data, self.client_address)


if __name__ == "__main__":
    address = (sys.argv[1], int(sys.argv[2]))
    ThreadingTCPServer.allow_reuse_address = True
    for server in (ThreadingTCPServer, ThreadingUDPServer):
        server.address_family = AF_INET6 if ":" in address[0] else AF_INET
    if sys.argv[3:] == ["udp"]:
        ThreadingUDPServer(address, EchoDatagram).serve_forever()
    else:
        ThreadingTCPServer(address, EchoAddress).serve_forever()
