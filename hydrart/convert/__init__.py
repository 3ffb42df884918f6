"""Convert PyTorch checkpoints to weight files."""
