"""What may talk to whom: the live rules read, explained and put on a page."""
