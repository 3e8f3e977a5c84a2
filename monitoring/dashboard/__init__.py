"""The live map of the lab, in a browser."""
