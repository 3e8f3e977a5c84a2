"""One look-up in DNS that never holds up other greenlets; it has one deadline."""

import socket as plain

import gevent
from dnslib import DNSError, DNSRecord
from gevent import socket

SECONDS = 1.0
PORT = 53
MOST_BYTES = 4096


def resolves(resolver: str, name: str) -> bool:
    """Return whether the resolver at this address knows an address for the name."""
    question = DNSRecord.question(name)
    try:
        with gevent.Timeout(SECONDS, TimeoutError), socket.socket(type=plain.SOCK_DGRAM) as connection:
            connection.connect((resolver, PORT))
            connection.send(question.pack())
            answer = DNSRecord.parse(connection.recv(MOST_BYTES))
    except (OSError, DNSError):
        return False
    return answer.header.id == question.header.id and bool(answer.rr)
