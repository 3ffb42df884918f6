"""PyTorch checkpoints to weight files."""
