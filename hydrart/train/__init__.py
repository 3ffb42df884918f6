"""Training of nested networks."""
