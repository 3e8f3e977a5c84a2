"""Monitoring: topology, traffic, connections and health; run as python -m monitoring.NAME."""
