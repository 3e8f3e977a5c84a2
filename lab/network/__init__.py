"""The network: what the table wants, what the kernel has, the difference, and the commands that remove it."""
