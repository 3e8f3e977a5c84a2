"""Traffic: a capture as tables, pictures and a report."""
