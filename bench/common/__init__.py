"""Shared code of the benchmarks: statistics of rounds, loads, control groups."""
