"""Benchmarks: each alternates its contenders in one run, and shows ratios with their spread."""
