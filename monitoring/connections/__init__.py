"""Connections: what conntrack and ss know, by service."""
