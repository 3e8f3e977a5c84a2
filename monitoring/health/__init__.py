"""Health: state and latency of each service."""
