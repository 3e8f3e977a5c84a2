"""Faults: the lab's behaviour when a part fails."""
