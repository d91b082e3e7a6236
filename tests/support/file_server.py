"""A server of files on this machine that can be told to fail as servers on the internet do."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class FileServer(http.server.ThreadingHTTPServer):
    """Serves `files` (path -> content), with ranges and ETags.

    `cuts` holds after how many bytes each of the next answers is cut, `errors` their status, `raw`
    all that they send; `ranges` what was asked for. With a `commit` it is a hub, whose files are
    those of `main`, and which sends `sent`, if that is set, where its metadata are of the file.
    Without `digests` ETags are no SHA-256.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.cuts: list[int] = []
        self.errors: list[int] = []
        self.ranges: list[str | None] = []
        self.raw: list[bytes] = []
        self.etags = True
        self.digests = True
        self.commit: str | None = None
        self.sent: bytes | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FileServer

    def do_HEAD(self) -> None:
        self._answer(head=True)

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        if self.server.raw:
            self.wfile.write(self.server.raw.pop(0))
        else:
            self._answer(wanted)

    def _answer(self, wanted: str | None = None, head: bool = False) -> None:
        if self.server.errors:
            return self.send_error(self.server.errors.pop(0))
        content = self.server.files.get(
            self.path.replace(f"/resolve/{self.server.commit}/", "/resolve/main/")
        )
        if content is None:
            return self.send_error(404)
        tag = f'"{hashlib.new("sha256" if self.server.digests else "sha1", content).hexdigest()}"'
        start = 0
        if wanted and self.headers.get("If-Range") in (None, tag):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return self.send_error(416)
        self.send_response(206 if start else 200)
        if self.server.etags:
            self.send_header("ETag", tag)
        if self.server.commit:
            self.send_header("X-Repo-Commit", self.server.commit)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.server.sent is not None and not head:
            content = self.server.sent
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if not head:
            end = start + self.server.cuts.pop(0) if self.server.cuts else len(content)
            self.wfile.write(content[start:end])
        return None

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def file_server() -> Iterator[FileServer]:
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
