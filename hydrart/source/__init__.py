"""The sources of frames."""
