"""Looking at the lab: what runs, what passes through, what it means; run as python -m monitoring.NAME."""
