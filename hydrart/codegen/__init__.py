"""Writes machine code; knows nothing of networks."""
