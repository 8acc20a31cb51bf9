"""Torch7 networks."""
