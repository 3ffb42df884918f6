"""The weight file: what a network is made of, where each weight lies, reading and writing."""
