"""Rule sets of the kernel: what iptables, ebtables and nft print, as dataclasses, and what differs from them."""

OWN_PREFIX = "CNET-"  # of the names of the lab's chains
