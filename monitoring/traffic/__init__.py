"""Traffic: what a capture holds, as tables, pictures and a report."""
