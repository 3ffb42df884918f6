"""Send the answers to terminal, log, video and systemd."""
