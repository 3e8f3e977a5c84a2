"""What turns the lab's tables into manifests for other engines."""
