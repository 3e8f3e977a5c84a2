"""Faults: what happens to the lab when a part fails."""
