"""Explain the path and the verdict of one packet."""
