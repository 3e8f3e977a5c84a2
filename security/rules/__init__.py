"""Rules of the kernel: read them, say what they mean, write them on a page."""
