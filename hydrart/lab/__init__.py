"""The governor's laboratory: simulated devices, rival policies, bounds, traces, replays."""
