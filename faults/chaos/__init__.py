"""Faults under load, and what became of them."""
