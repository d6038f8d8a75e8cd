"""The editor as users start it, a process on a free port of this machine, and visitors to it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

MTRANSFER = Path(sys.executable).parent / "mtransfer"
START_LIMIT_S = 120.0


@contextlib.contextmanager
def served(log: Path, data: Path | None = None) -> Iterator[str]:
    """The address of an editor with the embedded model on a folder `data`; what it says is written to `log`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [MTRANSFER, "gui", "--port", str(port), "--model", "embedded"]
    command += [] if data is None else ["--data", data]
    with log.open("wb") as told:
        process = subprocess.Popen(command, stdout=told, stderr=told, env={**os.environ, "MTRANSFER_DEBUG": "1"})
    url = f"http://127.0.0.1:{port}"
    try:
        _await(url, process, log)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=15)
        process.kill()
        process.wait()


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + START_LIMIT_S
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline_s, "the server did not start"
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"{url}/mtransfer/samples", timeout=5)
            return
        time.sleep(0.2)


@contextlib.contextmanager
def visitor(url: str) -> Iterator[httpx.Client]:
    """Someone with a cookie of their own."""
    with httpx.Client(base_url=url, timeout=120) as client:
        assert client.get("/mtransfer/samples").status_code == 200
        yield client


def uploaded(client: httpx.Client, path: Path, kind: str = "photo") -> httpx.Response:
    """A file sent as the page sends it."""
    return client.post("/mtransfer/upload", params={"kind": kind, "name": path.name}, content=path.read_bytes())
