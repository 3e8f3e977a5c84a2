"""Requests per second through nginx, against the original's development server."""
