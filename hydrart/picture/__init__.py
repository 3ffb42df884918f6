"""Turn pictures into the network's input."""
