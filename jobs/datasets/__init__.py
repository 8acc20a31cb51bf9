"""Kinds of dataset, one file each: what its form asks. The work itself is where the kind's `run` points."""
