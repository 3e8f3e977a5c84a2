"""Health: is each service there, and how quickly does it answer."""
