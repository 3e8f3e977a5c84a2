"""Connections: from conntrack and ss, by service."""
