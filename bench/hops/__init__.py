"""The cost of each hop on a request's path, one element at a time."""
