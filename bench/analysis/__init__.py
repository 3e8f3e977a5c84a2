"""Time and memory of reading a capture, against tshark and a regular expression."""
