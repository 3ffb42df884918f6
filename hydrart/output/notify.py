"""Send messages to systemd with the protocol of sd_notify(3), over its datagram socket."""

import os
import socket
import time


class Notifier:
    """Send messages to systemd. Without $NOTIFY_SOCKET it sends nothing."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        # a leading @ stands for the abstract name space
        self._address = "\0" + address[1:] if address.startswith("@") else address
        # $WATCHDOG_USEC is the longest allowed silence. systemd advises a message after half of it.
        self._every_s = int(os.environ.get("WATCHDOG_USEC", "0") or 0) / 2e6
        self._kept_at = 0.0

    @property
    def heard(self) -> bool:
        """Whether systemd listens."""
        return bool(self._address)

    def say(self, **values: str) -> None:
        """Send assignments: READY="1", STATUS="..."."""
        if not self._address:
            return
        text = "\n".join(f"{name}={' '.join(value.split())}" for name, value in values.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(text.encode(errors="replace"), self._address)
        except OSError:  # systemd restarts, or the socket is full; the next message follows soon
            return

    def alive(self) -> None:
        """Reset systemd's watchdog. It may be called at any rate, and sends only the messages that systemd needs."""
        now = time.monotonic()
        if self._every_s and now - self._kept_at >= self._every_s:
            self._kept_at = now
            self.say(WATCHDOG="1")

    def close(self) -> None:
        """Tell systemd that the service ends. Later calls send nothing."""
        self.say(STOPPING="1")
        self._address = ""
