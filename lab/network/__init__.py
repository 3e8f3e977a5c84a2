"""The network: the wanted state, the kernel's state, the difference, and the commands that remove it."""
