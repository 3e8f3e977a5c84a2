"""Exercises: a fault of the catalogue in a lab, graded by what works afterwards."""
