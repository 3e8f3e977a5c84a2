"""Rule sets of the kernel, as iptables, ebtables and nft print them, and their difference from the wanted rules."""

OWN_PREFIX = "CNET-"  # prefix of the lab's chain names
