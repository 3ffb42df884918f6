"""Train nested networks."""
