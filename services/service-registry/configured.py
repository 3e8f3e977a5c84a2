"""The services that cannot register themselves, as the environment variable CONFIGURED names them."""

from instances import Instance


def read_configured(text: str) -> list[Instance]:
    """Return the services of NAME=IP:PORT, comma-separated; each has one instance of its own name.

    The registry checks them by a connection. NAME=IP:PORT/SECONDS is a store that only its clients may reach: it is
    not checked and renews a lease instead.
    """
    configured = []
    for item in filter(None, text.split(",")):
        name, _, place = item.partition("=")
        address, _, ttl = place.partition("/")
        ip, _, port = address.rpartition(":")
        configured.append(
            Instance(name, name, ip, int(port), "", float(ttl) if ttl else None, permanent=True)
        )
    return configured
