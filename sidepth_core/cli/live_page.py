"""A page on this machine that shows the newest picture: a window that needs no toolkit, on a desktop and on a robot."""

from __future__ import annotations

import html
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

import cv2
import numpy as np
import numpy.typing as npt

from sidepth_core.errors import ConfigError

BOUNDARY = 'picture'
JPEG_QUALITY = 85
PATIENCE_S = 1.0
"""After this time without a new picture the last one is sent again, so that a closed page is noticed."""


class LivePage:
    """Serves the newest picture to any number of browsers on this machine, and to nobody else.

    Args:
        title: What is shown.
        port: TCP port; 0 takes any that is free.

    Attributes:
        address: Where the page is.
        shown: Pictures so far.
    """

    def __init__(self, title: str, port: int) -> None:
        page = _page(title)
        live = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                live._answer(self, page)

            def log_message(self, *_: object) -> None:
                """Say nothing of each request."""

        self._news = threading.Condition()
        self._picture = b''
        self._text = ''
        self._closed = False
        self.shown = 0
        try:
            self._server = ThreadingHTTPServer(('127.0.0.1', port), Handler)
        except OSError as error:
            raise ConfigError(f'port {port} cannot be used: {error.strerror}. Choose another --port, or 0') from None
        self._server.daemon_threads = True
        self.address = f'http://127.0.0.1:{self._server.server_port}/'
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={'poll_interval': 0.1}, daemon=True)

    def __enter__(self) -> LivePage:  # noqa: PYI034 - Self needs Python 3.11
        """Begin to serve."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End serving."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def show(self, picture: npt.NDArray[np.uint8]) -> None:
        """Show a picture, (H, W, 3) uint8 RGB."""
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        _, data = cv2.imencode('.jpg', cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
        with self._news:
            self._picture = data.tobytes()
            self.shown += 1
            self._news.notify_all()

    def say(self, text: str) -> None:
        """Show a line of text below the picture."""
        self._text = text

    def _answer(self, request: BaseHTTPRequestHandler, page: bytes) -> None:
        path = request.path.partition('?')[0]
        if path == '/stream':
            self._stream(request)
        elif path == '/':
            _send(request, 'text/html; charset=utf-8', page)
        elif path == '/text':
            _send(request, 'text/plain; charset=utf-8', self._text.encode())
        elif path == '/picture.jpg' and self._picture:
            _send(request, 'image/jpeg', self._picture)
        else:
            request.send_error(HTTPStatus.NOT_FOUND)

    def _stream(self, request: BaseHTTPRequestHandler) -> None:
        """Send one picture after the other, until the browser or the page is closed."""
        request.send_response(HTTPStatus.OK)
        request.send_header('Content-Type', f'multipart/x-mixed-replace; boundary={BOUNDARY}')
        request.send_header('Cache-Control', 'no-store')
        request.end_headers()
        sent = 0
        try:
            while not self._closed:
                with self._news:
                    self._news.wait_for(lambda last=sent: self.shown > last or self._closed, PATIENCE_S)  # type: ignore[misc]
                    picture, sent = self._picture, self.shown
                if picture:
                    head = f'--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n'
                    request.wfile.write(head.encode() + picture + b'\r\n')
        except (BrokenPipeError, ConnectionResetError):
            return  # the browser has left


def _send(request: BaseHTTPRequestHandler, kind: str, content: bytes) -> None:
    request.send_response(HTTPStatus.OK)
    request.send_header('Content-Type', kind)
    request.send_header('Content-Length', str(len(content)))
    request.send_header('Cache-Control', 'no-store')
    request.end_headers()
    request.wfile.write(content)


def _page(title: str) -> bytes:
    text = html.escape(title)
    return f"""<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{text}</title>
<style>body{{margin:12px;font:15px system-ui,sans-serif;background:#181a1e;color:#e1e4e8}}img{{max-width:100%}}</style>
</head><body><h1 style="font-size:18px">{text}</h1><img src="/stream" alt="image and depth"><p id="text"></p>
<script>setInterval(async () => {{
  try {{ document.getElementById('text').textContent = await (await fetch('/text')).text(); }}
  catch {{ document.getElementById('text').textContent = 'sidepth camera has ended'; }}
}}, 1000);</script></body></html>
""".encode()
