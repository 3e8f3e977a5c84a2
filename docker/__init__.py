"""Translate the lab's tables into manifests for other engines."""
