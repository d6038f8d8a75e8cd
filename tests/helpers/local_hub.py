"""A web server on this machine that answers as the hub and torch's download site do: one repository, any files."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "c" * 40


class Server:
    """Its address, the repository's files by name, plain files by name, and the paths asked for so far."""

    def __init__(self, hub_id: str, repository: dict[str, bytes], files: dict[str, bytes]) -> None:
        self.hub_id, self.repository, self.files = hub_id, repository, files
        self.asked: list[str] = []
        self.url = ""

    def answer(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers for a path."""
        path = path.partition("?")[0].strip("/")
        self.asked.append(path)
        api = f"api/models/{self.hub_id}"
        if path in (api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
            return 200, json.dumps(self._info()).encode(), {}
        if path in (f"{api}/tree/{COMMIT}", f"{api}/tree/main"):
            return 200, json.dumps([{"type": "file", **entry} for entry in self._entries("path")]).encode(), {}
        if path == f"{api}/discussions":
            return 200, json.dumps({"discussions": [], "count": 0, "start": 0}).encode(), {}
        for revision in ("main", COMMIT):
            name = path.removeprefix(f"{self.hub_id}/resolve/{revision}/")
            if name != path and name in self.repository:
                body = self.repository[name]
                return 200, body, {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": COMMIT}
        if path in self.files:
            return 200, self.files[path], {}
        return 404, b"{}", {"X-Error-Code": "RepoNotFound"}

    def _info(self) -> dict[str, Any]:
        return {"id": self.hub_id, "sha": COMMIT, "siblings": self._entries("rfilename")}

    def _entries(self, key: str) -> list[dict[str, Any]]:
        return [
            {key: name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
            for name, body in self.repository.items()
        ]


@contextlib.contextmanager
def serve(
    hub_id: str = "owner/tiny", folder: Path | None = None, files: dict[str, bytes] | None = None
) -> Iterator[Server]:
    """A server that offers the files below `folder` as the repository `hub_id`, and `files` by their names."""
    found = [path for path in folder.rglob("*") if path.is_file()] if folder else []
    repository = {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
    server = Server(hub_id, repository, files or {})

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._send(with_body=False)

        def do_GET(self) -> None:
            self._send(with_body=True)

        def _send(self, *, with_body: bool) -> None:
            status, body, headers = server.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                with contextlib.suppress(ConnectionError):  # who asked has gone
                    self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{web.server_port}"
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        web.shutdown()
        thread.join()
        web.server_close()
