"""The lab's scripts; those in Python run as python -m scripts.NAME."""
