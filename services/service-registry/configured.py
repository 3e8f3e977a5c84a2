"""The services that cannot register themselves, from the environment variable CONFIGURED."""

from instances import Instance


def read_configured(text: str) -> list[Instance]:
    """Return the services of NAME=IP:PORT, comma-separated; each has one instance of the same name.

    The registry checks them by a connection. NAME=IP:PORT/SECONDS is a store that only its clients may reach:
    the registry does not check it, and it renews a lease instead.
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
