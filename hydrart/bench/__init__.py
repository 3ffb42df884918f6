"""Measuring hydrart next to other runtimes."""
