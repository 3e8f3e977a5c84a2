"""The cost of a policy: to apply it, and on the path of a new connection."""
