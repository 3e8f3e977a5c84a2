"""DNS over UDP and TCP (RFC 1035, RFC 7766): answers for the zone, forwards other questions unchanged."""

import logging
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from cnet_service.families import time_left
from cnet_service.worker import ClientLimit
from dnslib import CLASS, EDNS0, OPCODE, QTYPE, RCODE, DNSError, DNSHeader, DNSRecord
from zone import Zone

log = logging.getLogger("service")

FORWARD_SECONDS = 1.5  # deadline of a forwarder's answer
MESSAGE_SECONDS = 5.0  # deadline of a message over TCP, with the pause before it
MAX_FORWARDED, MAX_FORWARDED_OF_CLIENT = 64, 16  # maximum waiting questions: in all, per client
MAX_CONNECTIONS, MAX_CONNECTIONS_OF_CLIENT = 256, 64
PLAIN_UDP_BYTES = 512  # RFC 1035, section 2.3.4
MAX_UDP_BYTES = 1232  # fits into one packet on every path (dnsflagday.net/2020)
HEADER_BYTES = 12


class Resolver:
    """Returns the DNS answer to a DNS question, both as bytes."""

    def __init__(self, zone: Zone, forwarders: list[str]) -> None:
        self._zone = zone
        self._forwarders = forwarders
        self._forwarded = ClientLimit(MAX_FORWARDED_OF_CLIENT, MAX_FORWARDED)

    def resolve(self, packet: bytes, client: str, over_tcp: bool) -> bytes | None:
        """Return the answer to a client; None if the packet is not a question, which prevents loops of answers."""
        if len(packet) < HEADER_BYTES or packet[2] & 0x80:
            return None
        try:
            request = DNSRecord.parse(packet)
        except (DNSError, ValueError, IndexError, struct.error, UnicodeError):
            return error_answer(packet, RCODE.FORMERR)
        wrong = check_question(request)
        if wrong:
            return error_answer(packet, wrong)
        reply = self._zone.answer(request)
        if reply is None:
            return self._forward(packet, client, over_tcp)
        return pack_answer(reply, None if over_tcp else PLAIN_UDP_BYTES, request)

    def _forward(self, packet: bytes, client: str, over_tcp: bool) -> bytes:
        """Return the first answer of the forwarders, byte for byte; SERVFAIL if too many questions wait."""
        if not self._forwarded.take(client):
            return error_answer(packet, RCODE.SERVFAIL)
        try:
            return self._ask_forwarders(packet, ask_tcp if over_tcp else ask_udp)
        finally:
            self._forwarded.release(client)

    def _ask_forwarders(self, packet: bytes, ask: Callable[[str, bytes], bytes]) -> bytes:
        for address in self._forwarders:
            try:
                answer = ask(address, packet)
            except (OSError, EOFError):
                continue
            if answer[:2] == packet[:2]:
                return answer
        return error_answer(packet, RCODE.SERVFAIL)


def check_question(request: DNSRecord) -> int:
    """Return 0 for a single question of the internet class, else the error code."""
    if request.header.opcode != OPCODE.QUERY:
        return int(RCODE.NOTIMP)
    if len(request.questions) != 1:
        return int(RCODE.FORMERR)
    return int(RCODE.REFUSED) if request.q.qclass not in (CLASS.IN, QTYPE.ANY) else 0


def pack_answer(reply: DNSRecord, limit: int | None, request: DNSRecord) -> bytes:
    """Return the answer's bytes; truncate one that is too long for UDP (TC), so that clients ask over TCP."""
    for option in request.ar:
        if option.rtype == QTYPE.OPT:  # EDNS: the size that the client accepts (RFC 6891)
            limit = limit and max(limit, min(option.edns_len, MAX_UDP_BYTES))
            reply.add_ar(EDNS0(udp_len=MAX_UDP_BYTES))
    data: bytes = reply.pack()
    if limit and len(data) > limit:
        data = reply.truncate().pack()
    return data


def error_answer(packet: bytes, code: int) -> bytes:
    """Return an answer with only an error code; of the request use only the id and the flags."""
    identity, flags = struct.unpack("!HH", packet[:4])
    header = DNSHeader(id=identity, qr=1, opcode=flags >> 11 & 15, rd=flags >> 8 & 1, ra=1, rcode=code)
    answer: bytes = DNSRecord(header).pack()
    return answer


def ask_udp(address: str, packet: bytes) -> bytes:
    """Ask another resolver over UDP; a connected socket receives only that resolver's answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(FORWARD_SECONDS)
        connection.connect((address, 53))
        connection.send(packet)
        return connection.recv(65535)


def ask_tcp(address: str, packet: bytes) -> bytes:
    """Ask another resolver over TCP."""
    deadline = time.monotonic() + FORWARD_SECONDS
    with socket.create_connection((address, 53), FORWARD_SECONDS) as connection:
        connection.settimeout(time_left(deadline))
        connection.sendall(struct.pack("!H", len(packet)) + packet)
        return read_message(connection, deadline) or b""


def read_message(connection: socket.socket, deadline: float) -> bytes | None:
    """Return one message after its length prefix; None at the end. Raise EOFError if it is cut."""
    head = read_exactly(connection, 2, deadline)
    if not head:
        return None
    length: int = struct.unpack("!H", head)[0]
    body = read_exactly(connection, length, deadline)
    if length and not body:
        raise EOFError
    return body


def read_exactly(connection: socket.socket, length: int, deadline: float) -> bytes:
    """Return `length` bytes, none at the end; raise EOFError if they are cut, TimeoutError after the deadline."""
    data = b""
    while len(data) < length:
        connection.settimeout(time_left(deadline))
        more = connection.recv(length - len(data))
        if not more and data:
            raise EOFError
        if not more:
            break
        data += more
    return data


def start(zone: Zone, addresses: list[str], port: int, forwarders: list[str]) -> None:
    """Serve UDP and TCP at each address, each in a thread."""
    resolver = Resolver(zone, forwarders)

    class OverUdp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            packet, connection = self.request
            answer = resolver.resolve(packet, self.client_address[0], over_tcp=False)
            if answer is not None:
                connection.sendto(answer, self.client_address)

    class OverTcp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                while (packet := read_message(self.request, time.monotonic() + MESSAGE_SECONDS)) is not None:
                    answer = resolver.resolve(packet, self.client_address[0], over_tcp=True)
                    if answer is None:
                        return
                    self.request.settimeout(MESSAGE_SECONDS)
                    self.request.sendall(struct.pack("!H", len(answer)) + answer)
            except (OSError, EOFError):
                return  # the client closed the connection or sends nothing

    limit = ClientLimit(MAX_CONNECTIONS_OF_CLIENT, MAX_CONNECTIONS)
    for address in addresses:
        for server in (UdpServer((address, port), OverUdp), TcpServer((address, port), OverTcp, limit)):
            threading.Thread(target=server.serve_forever, name="dns", daemon=True).start()


class DnsServer(socketserver.TCPServer):
    """Uses the address's family; writes failures to the log, not to standard error."""

    def __init__(self, address: tuple[str, int], handler: type[socketserver.BaseRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def handle_error(self, _request: object, client_address: object) -> None:
        """Log the current exception."""
        log.exception("DNS: a question of %s failed", client_address)


class UdpServer(DnsServer, socketserver.ThreadingUDPServer):
    """A thread for each packet: own answers are quick, and the number of forwarded questions is limited."""

    daemon_threads = True
    max_packet_size = 65535


class TcpServer(DnsServer, socketserver.ThreadingTCPServer):
    """A thread for each connection; `limit` is for each client and in total, and servers share it."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(
        self, address: tuple[str, int], handler: type[socketserver.BaseRequestHandler], limit: ClientLimit
    ) -> None:
        super().__init__(address, handler)
        self._limit = limit

    def verify_request(self, _request: object, client_address: tuple[str, int]) -> bool:
        """Return whether the client may have another connection."""
        return self._limit.take(client_address[0])

    def process_request_thread(self, request: Any, client_address: tuple[str, int]) -> None:
        """Serve the connection, then release its place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._limit.release(client_address[0])
