"""Create and remove the benchmark's network with mininet; print the seconds that each took.

/usr/bin/python3 -m bench.network.with_mininet NODES GATEWAY/LENGTH STARTED
STARTED is the uptime, in seconds, before Python came up.
"""

import sys
import time
from pathlib import Path

from mininet.net import Mininet  # type: ignore[import-not-found]  # the distribution's, without types
from mininet.nodelib import LinuxBridge  # type: ignore[import-not-found]  # as above
from mininet.topo import Topo  # type: ignore[import-not-found]  # as above

from bench.network.check import IncompleteError, check


class Star(Topo):  # type: ignore[misc]  # mininet has no types
    """All hosts on one switch."""

    def build(self, nodes: int, gateway: str) -> None:
        """Add the switch, the hosts and a link to each."""
        address, length = gateway.split("/")
        base = address.rsplit(".", 2)[0]
        switch = self.addSwitch("s1")
        for number in range(1, nodes + 1):
            ip = f"{base}.{number // 250}.{number % 250 + 2}/{length}"
            host = self.addHost(f"h{number}", ip=ip, defaultRoute=f"via {address}")
            self.addLink(host, switch)


def main(nodes: int, gateway: str, started: float) -> None:
    """Bring the network up, check it, take it down."""
    net = Mininet(topo=Star(nodes=nodes, gateway=gateway), switch=LinuxBridge, controller=None)
    net.start()
    net["s1"].cmd(f"ip addr add {gateway} brd + dev s1")
    up = time.clock_gettime(time.CLOCK_BOOTTIME) - started  # the clock of /proc/uptime
    check([Path(f"/proc/{host.pid}/ns/net") for host in net.hosts], nodes, gateway)
    begin = time.perf_counter()
    net.stop()
    print(f"{up:.6f} {time.perf_counter() - begin:.6f}")


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
    except IncompleteError as error:
        sys.exit(f"network_mininet.py: {error}")
