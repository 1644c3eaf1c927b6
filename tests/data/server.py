"""A small web server that behaves as badly as a test needs."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    """What the server serves, and how."""

    content: dict[str, bytes]
    """Path (without the first slash) -> bytes."""
    etag: str | None = '"one"'
    ranges: bool = True
    failures: list[int] = field(default_factory=list)
    """Statuses to answer first, one a request."""
    cut_after: list[int] = field(default_factory=list)
    """For the next requests: send only so many bytes of what was promised, then hang up."""
    delay: float = 0.0
    """Seconds between pieces of 64 KiB."""
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """What was asked for: path and Range."""
    url: str = ""


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[Behaviour]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(behaviour.content.get(self.path[1:], b""))))
            self.end_headers()

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            behaviour.requests.append((self.path[1:], wanted))
            if behaviour.failures:
                self.send_error(behaviour.failures.pop(0))
                return
            content = behaviour.content.get(self.path[1:])
            if content is None:
                self.send_error(404)
                return
            first = 0
            if wanted and behaviour.ranges and self.headers.get("If-Range") == behaviour.etag:
                first = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if first >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(content) - first))
            if behaviour.etag:
                self.send_header("ETag", behaviour.etag)
            for name, value in behaviour.headers.items():
                self.send_header(name, value)
            self.end_headers()
            rest = content[first:]
            if behaviour.cut_after:
                rest = rest[:behaviour.cut_after.pop(0)]
            try:
                for at in range(0, len(rest), 1 << 16):
                    self.wfile.write(rest[at:at + (1 << 16)])
                    time.sleep(behaviour.delay)
            except OSError:
                pass  # the client was killed: that is the test

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    behaviour.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield behaviour
    finally:
        server.shutdown()
        server.server_close()
