"""Rule sets of the kernel: what iptables, ebtables and nft print, as dataclasses, and what differs from them."""
