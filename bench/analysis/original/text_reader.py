"""The original's reader of tcpdump's text: a regular expression per line, all packets in memory."""

import collections
import re
import sys

PATTERN = re.compile(r"IP (\d+\.\d+\.\d+\.\d+)\.(\d+) > (\d+\.\d+\.\d+\.\d+)\.(\d+): (.*)")
packets = []
with open(sys.argv[1]) as text:
    for line in text.readlines():
        found = PATTERN.search(line)
        if found:
            source, source_port, destination, port, rest = found.groups()
            protocol = "TCP" if "Flags" in rest else "UDP"
            packets.append({"source": source, "destination": destination, "port": port, "protocol": protocol})
pairs = collections.Counter((packet["source"], packet["destination"]) for packet in packets)
print(len(packets), pairs.most_common(1))
