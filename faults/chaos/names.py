"""One look-up in DNS with one deadline, which never blocks other greenlets."""

import socket as plain

import gevent
from dnslib import DNSError, DNSRecord
from gevent import socket

SECONDS = 1.0
PORT = 53
MAX_BYTES = 4096


def resolves(resolver: str, name: str) -> bool:
    """Return whether the resolver at this address has an address for the name."""
    question = DNSRecord.question(name)
    try:
        with gevent.Timeout(SECONDS, TimeoutError), socket.socket(type=plain.SOCK_DGRAM) as connection:
            connection.connect((resolver, PORT))
            connection.send(question.pack())
            answer = DNSRecord.parse(connection.recv(MAX_BYTES))
    except (OSError, DNSError):
        return False
    return answer.header.id == question.header.id and bool(answer.rr)
