"""Rule sets of the kernel, as iptables, ebtables and nft print them, and their difference from the wanted rules."""

OWN_PREFIX = "CNET-"  # of the names of the lab's chains
