"""The lab against Docker: the same services under the same limits, in turn."""
