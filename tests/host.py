"""A server of files on the loopback, which misbehaves as told."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Host(ThreadingHTTPServer):
    """Serves `contents`; `faults` lists what to do wrong with the next requests for a path, `seen` what was asked.

    With `gate` cleared all requests wait for it; with the fault "hold", one does.
    """

    request_queue_size = 128  # all that ask at once, also on a loaded machine, which else resets some

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents: dict[str, bytes] = {}
        self.faults: dict[str, list[str]] = {}
        self.seen: list[tuple[str, str | None]] = []
        self.connections = 0
        self.asked, self.gate, self.held, self.release = (threading.Event() for _ in range(4))
        self.gate.set()
        self.meeting: threading.Barrier | None = None
        """Where requests wait for each other."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)


class Handler(BaseHTTPRequestHandler):
    server: Host
    protocol_version = "HTTP/1.1"  # connections are kept

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        self.server.seen.append((path, self.headers["Range"]))
        self.server.asked.set()
        self.server.gate.wait(10)
        if self.server.meeting:
            self.server.meeting.wait(10)
        faults = self.server.faults.get(path, [])
        fault = faults.pop(0) if faults else ""
        if fault == "hold":
            self.server.held.set()
            self.server.release.wait(30)
        if fault.isdecimal():
            return self.answer(int(fault), {"Retry-After": "7"} if fault == "429" else {}, b"")
        if path not in self.server.contents:
            return self.answer(404, {}, b"")
        content = self.server.contents[path]
        if fault == "other bytes":
            content = content[::-1]
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        if not wanted or fault == "ignore range":
            return self.answer(200, {}, content, cut=fault == "cut")
        start = int(wanted[1])
        if start >= len(content):
            return self.answer(416, {}, b"")
        first = 0 if fault == "wrong range" else start
        place = f"bytes {first}-{len(content) - 1}/{len(content)}"
        return self.answer(206, {"Content-Range": place}, content[first:], cut=fault == "cut")

    def answer(self, status: int, headers: dict[str, str], body: bytes, cut: bool = False) -> None:
        self.close_connection = cut
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who asked has heard enough, or was killed
            self.wfile.write(body[: len(body) // 2] if cut else body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def serving() -> Iterator[Callable[[], Host]]:
    """Starts hosts, and ends them all."""
    hosts: list[Host] = []

    def start() -> Host:
        host = Host()
        threading.Thread(target=host.serve_forever, args=(0.01,)).start()
        hosts.append(host)
        return host

    try:
        yield start
    finally:
        for host in hosts:
            host.gate.set()
            host.release.set()
            host.shutdown()
            host.server_close()
