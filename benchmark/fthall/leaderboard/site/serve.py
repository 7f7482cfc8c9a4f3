"""A site on this machine, as a web server would give it."""

import functools
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from fthall.errors import FthallError


class _Handler(SimpleHTTPRequestHandler):
    """Files as they are, 404.html for what is not there, and nothing kept by the browser."""

    def end_headers(self) -> None:
        """Nothing is kept: the next build is seen at once."""
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Our own page where there is one."""
        page = Path(self.directory) / "404.html"
        if code != HTTPStatus.NOT_FOUND or not page.is_file():
            super().send_error(code, message, explain)
            return
        body = page.read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: what is asked for is no news."""


def serve(site: Path, port: int) -> ThreadingHTTPServer:
    """A server of a folder for this machine alone; ``serve_forever`` starts it.

    Args:
        site: the folder.
        port: 0 takes any that is free.

    Raises:
        FthallError: the port is taken or not allowed.
    """
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), functools.partial(_Handler, directory=str(site)))
    except (OSError, OverflowError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise FthallError(f"cannot serve at port {port}: {said}; choose another with --port, or 0 for any") from None
