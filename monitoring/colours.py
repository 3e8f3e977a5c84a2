"""The dashboard's colours."""

from lab.colours import BLUE, ORANGE, VERMILION

__all__ = ["BLUE", "ORANGE", "VERMILION"]
