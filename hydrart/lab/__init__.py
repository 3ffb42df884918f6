"""The governor's laboratory: simulated devices, policies to compare with, bounds, traces, replays."""
