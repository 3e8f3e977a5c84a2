"""Explain what happens to one packet, and why."""
