"""Measure hydrart's speed, memory and accuracy, also next to other runtimes."""
