"""The services that cannot register themselves, from the environment variables CONFIGURED and CONFIGURED_IP6."""

from instances import Instance


def read_configured(text: str, text_ip6: str = "") -> list[Instance]:
    """Return the services of NAME=IP:PORT, comma-separated; each has one instance of the same name. [IP] is IPv6.

    `text_ip6` has the IPv6 addresses of some of them: NAME=IP6, comma-separated.

    The registry checks them by a connection. NAME=IP:PORT/SECONDS is a store that only its clients may reach:
    the registry does not check it, and it renews a lease instead.
    """
    addresses6 = dict(item.split("=") for item in filter(None, text_ip6.split(",")))
    configured = []
    for item in filter(None, text.split(",")):
        name, _, place = item.partition("=")
        address, _, ttl = place.partition("/")
        host, _, port = address.rpartition(":")
        lease, ip6 = float(ttl) if ttl else None, addresses6.get(name, "")
        configured.append(
            Instance(name, name, host.strip("[]"), int(port), "", lease, permanent=True, ip6=ip6)
        )
    return configured
