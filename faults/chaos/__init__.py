"""Faults under load, and their effects on clients."""
