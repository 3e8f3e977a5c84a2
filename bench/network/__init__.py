"""How fast the network comes up and down, against other ways to make it."""
