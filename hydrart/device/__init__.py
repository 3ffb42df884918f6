"""What this machine or board is: profiles, sensors, Linux's files."""
