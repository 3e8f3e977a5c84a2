"""Try the endpoints of the platform, in the lab and in Docker."""
