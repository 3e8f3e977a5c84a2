"""What several benchmarks share: statistics of rounds, loads, control groups."""
