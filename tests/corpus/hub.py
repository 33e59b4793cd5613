"""A hub on loopback: as much of the Hugging Face hub's HTTP interface as streaming a dataset asks for.

It serves the Parquet files of a folder as dataset `Skylion007/openwebtext`. `faults` holds what happens to the requests
for a file's bytes, in turn: "ok", "drop" (the connection ends in the middle of the body) or a status such as "503".
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REPOSITORY = "Skylion007/openwebtext"
COMMIT = "a" * 40


@dataclass
class Hub:
    url: str
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)  # of files' bytes, whatever came of them


@contextmanager
def serving(folder: Path) -> Iterator[Hub]:
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}
    api = f"/api/datasets/{REPOSITORY}"
    hub = Hub("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.startswith(f"{api}/tree/"):
                inside = path.removeprefix(f"{api}/tree/").partition("/")[2]
                return self.reply(tree(inside))
            if path.startswith(api):
                return self.reply({"id": REPOSITORY, "sha": COMMIT, "siblings": [{"rfilename": f} for f in files]})
            name = path.partition("/resolve/")[2].partition("/")[2]
            return self.file(name) if name in files else self.reply({}, 404, {"X-Error-Code": "EntryNotFound"})

        def file(self, name: str) -> None:
            first, _, last = (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")
            whole = files[name]
            part = whole[int(first) : int(last) + 1 if last else None]
            fault = "ok"
            if self.command == "GET":
                hub.requests.append(name)
                fault = hub.faults.pop(0) if hub.faults else "ok"
            if fault not in ("ok", "drop"):
                return self.reply({}, int(fault))
            extent = f"bytes {first}-{int(first) + len(part) - 1}/{len(whole)}"
            self.head(206, len(part), {"Content-Range": extent, "X-Repo-Commit": COMMIT, "ETag": '"x"'})
            if self.command == "GET":
                self.wfile.write(part[: len(part) // 2] if fault == "drop" else part)
            self.close_connection = fault == "drop"

        def reply(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
            body = json.dumps(value).encode()
            self.head(status, len(body), {"Content-Type": "application/json", **(headers or {})})
            if self.command != "HEAD":
                self.wfile.write(body)

        def head(self, status: int, length: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(length), "Accept-Ranges": "bytes", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

    def tree(inside: str) -> list[dict[str, object]]:
        found: dict[str, dict[str, object]] = {}
        for name, data in files.items():
            if inside and not name.startswith(f"{inside}/"):
                continue
            rest = name.removeprefix(f"{inside}/") if inside else name
            path = f"{inside}/{rest.partition('/')[0]}".lstrip("/")
            lfs = {"oid": sha256(data).hexdigest(), "size": len(data), "pointerSize": 100}
            if "/" in rest:
                found[path] = {"type": "directory", "path": path, "oid": "0" * 40, "size": 0}
            else:
                found[path] = {"type": "file", "path": path, "oid": "0" * 40, "size": len(data), "lfs": lfs}
        return list(found.values())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
