"""The native backend's kernels."""
