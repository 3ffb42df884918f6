"""An HTTP server of one file, with or without a stated length and a password."""

import base64
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@contextmanager
def serving(
    path: Path,
    *,
    length: bool = True,
    status: int = 200,
    password: str | None = None,
    after: int | None = None,
    port: int = 0,
) -> Iterator[tuple[int, list[str]]]:
    """Serve the file. Gives the port and the list of requests.

    length: whether the server states the length; otherwise it sends chunks. It supports no ranges.
    password: of the user "me". after: number of bytes before it hangs up. port: 0 takes any free port.
    """
    data = path.read_bytes()
    requests: list[str] = []
    wanted = password and "Basic " + base64.b64encode(f"me:{password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            requests.append(self.path)
            allowed = not wanted or self.headers.get("Authorization") == wanted
            self.send_response(status if allowed else 401)
            if not allowed or status != 200:
                self.send_header("WWW-Authenticate", 'Basic realm="x"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if length:
                self.send_header("Content-Length", str(len(data)))
            else:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.close_connection = after is not None
            parts = [data[i : i + 4096] for i in range(0, after or len(data), 4096)]
            for part in parts:
                self.wfile.write(part if length else b"%x\r\n%b\r\n" % (len(part), part))
            if not length:
                self.wfile.write(b"0\r\n\r\n")

        def handle(self) -> None:
            with contextlib.suppress(OSError):  # the client may have left
                super().handle()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, requests
        finally:
            server.shutdown()
            thread.join()
