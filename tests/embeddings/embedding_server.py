"""An OpenAI-compatible endpoint on loopback, for tests and measurements: POST /v1/embeddings, over real HTTP.

Takes   the kind of vectors: `cheap` (slices of one random block, placed by a digest of the text) or `minilm` (the
        packaged sentence model, as source `sentence_transformers` computes it); a key to insist on; seconds a request.
Makes   nothing; the first line on standard output is the base URL.

Besides the endpoint: GET /counts tells what was asked and embedded; POST /faults takes a list of faults, each of which
spoils one of the next requests; POST /reset empties both and can set `delay_s` and the `dims` of cheap vectors.
"""

import argparse
import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

MOST_INPUTS = 2048
BLOCK = np.random.default_rng(20).standard_normal(2**20).astype(np.float32)

Embed = Callable[[Sequence[str]], np.ndarray]


def cheap(dims: int) -> Embed:
    """Vectors float32 [n, dims] that depend on the text alone; computing them takes no time."""

    def embed(texts: Sequence[str]) -> np.ndarray:
        digests = (hashlib.sha256(text.encode()).digest() for text in texts)
        starts = [int.from_bytes(digest[:4], "little") % (len(BLOCK) - dims) for digest in digests]
        return np.stack([BLOCK[start : start + dims] for start in starts])

    return embed


def minilm() -> Embed:
    """Vectors of the packaged sentence model, computed for one request at a time."""
    from pipeline.embeddings import sentence

    model, lock = sentence.load(sentence.packaged_model(), "cpu"), threading.Lock()

    def embed(texts: Sequence[str]) -> np.ndarray:
        with lock:
            lengths = np.array([len(ids) for ids in model.tokenizer(list(texts))["input_ids"]])
            return sentence.embed(model, texts, lengths, 128)

    return embed


class Server(ThreadingHTTPServer):
    """Counts and faults are shared by the requests' threads, under `lock`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, embed: Embed, key: str | None, delay_s: float) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.first_embed, self.key, self.first_delay_s = embed, key, delay_s
        self.lock = threading.Lock()
        self.reset({})

    def reset(self, how: dict[str, Any]) -> None:
        self.delay_s = how.get("delay_s", self.first_delay_s)
        self.embed = cheap(how["dims"]) if "dims" in how else self.first_embed
        self.faults: list[dict[str, Any]] = []
        # Fresh ones: a request that is still under way goes on counting in those that it began with.
        self.counts: dict[str, Any] = {
            "requests": 0,
            "inputs": 0,  # embedded: what a paid endpoint would have charged
            "under_way": 0,
            "inputs_under_way": 0,
            "most_under_way": 0,
            "most_inputs_under_way": 0,
            "arrivals_s": [],
            "asked": [],  # each request's body without the input, its number of inputs and their bytes
            "keys": [],
        }

    def begin(
        self, body: dict[str, Any], texts: list[str], authorization: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Count a request that arrives; the counts it belongs to, and the fault that it meets."""
        with self.lock:
            counts = self.counts
            counts["requests"] += 1
            counts["under_way"] += 1
            counts["inputs_under_way"] += len(texts)
            for what in ("under_way", "inputs_under_way"):
                counts[f"most_{what}"] = max(counts[f"most_{what}"], counts[what])
            counts["arrivals_s"].append(time.monotonic())
            asked = {name: value for name, value in body.items() if name != "input"}
            counts["asked"].append({**asked, "inputs": len(texts), "bytes": sum(len(text.encode()) for text in texts)})
            counts["keys"].append(authorization)
            return counts, self.faults.pop(0) if self.faults else {}

    def end(self, counts: dict[str, Any], texts: list[str]) -> None:
        with self.lock:
            counts["under_way"] -= 1
            counts["inputs_under_way"] -= len(texts)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client was killed, or did not wait
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        with self.server.lock:
            self.answer(200, json.dumps(self.server.counts).encode())

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.loads(content)
        if self.path == "/v1/embeddings":
            texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
            counts, fault = self.server.begin(body, texts, self.headers.get("Authorization", ""))
            try:
                self.embeddings(body, texts, fault, counts)
            finally:
                self.server.end(counts, texts)
            return
        with self.server.lock:
            if self.path == "/faults":
                self.server.faults += body
            elif self.path == "/reset":
                self.server.reset(body)
        self.answer(200, b"{}")

    def embeddings(self, body: dict[str, Any], texts: list[str], fault: dict[str, Any], counts: dict[str, Any]) -> None:
        kind, authorization = fault.get("kind"), self.headers.get("Authorization", "")
        time.sleep(self.server.delay_s)
        if kind == "stall":
            time.sleep(fault["seconds"])
        if kind == "status":
            message = fault.get("message", "no reason").replace("{authorization}", authorization)
            self.error(fault["status"], message, fault.get("code"), fault.get("headers"))
        elif kind == "error":
            self.answer(200, json.dumps({"error": {"message": fault["message"]}}).encode())
        elif kind == "text":
            self.answer(200, b"<html>busy</html>", content_type=fault.get("type", "text/html"))
        elif not authorization.startswith("Bearer ") or self.server.key not in (None, authorization[7:]):
            self.error(401, f"Incorrect API key provided: {authorization[7:]}", "invalid_api_key")
        elif not 1 <= len(texts) <= MOST_INPUTS or not all(texts):
            self.error(400, "'input' must hold 1 to 2048 texts, none of them empty")
        else:
            with self.server.lock:
                counts["inputs"] += len(texts)
            self.embedded(body, texts, fault)

    def embedded(self, body: dict[str, Any], texts: list[str], fault: dict[str, Any]) -> None:
        kind, vectors = fault.get("kind"), self.server.embed(texts)[:, : body.get("dimensions")].copy()
        if kind == "value":
            vectors[fault["row"]] = 0
            vectors[fault["row"], 0] = fault["value"]
        elif kind == "equal":
            vectors[:] = vectors[0]
        elif kind == "dims":
            vectors = vectors[:, :-1]
        encoded = body.get("encoding_format") == "base64" and kind != "float"
        items = [
            {
                "object": "embedding",
                "index": index,
                "embedding": base64.b64encode(row.tobytes()).decode() if encoded else row.tolist(),
            }
            for index, row in enumerate(vectors)
        ]
        if kind == "short":
            items = items[:-1]
        elif kind == "reversed":
            items = items[::-1]
        elif kind == "index":
            items[-1]["index"] = 0
        used = sum(len(text.encode()) for text in texts) * fault.get("usage", 1)
        reply = {"object": "list", "data": items, "model": body["model"]}
        reply["usage"] = {"prompt_tokens": used, "total_tokens": used}
        if kind == "no_usage":
            del reply["usage"]
        self.answer(200, json.dumps(reply).encode(), drop=kind == "drop", slow_s=fault.get("slow_s", 0))

    def error(self, status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None) -> None:
        said = {"error": {"message": message, "type": "error", "code": code, "param": None}}
        self.answer(status, json.dumps(said).encode(), headers)

    def answer(
        self,
        status: int,
        content: bytes,
        headers: dict[str, str] | None = None,
        content_type: str = "application/json",
        drop: bool = False,
        slow_s: float = 0,
    ) -> None:
        """Send a reply, or, to `drop` it, its head and half of its body; in ten pieces, if it is to take `slow_s`."""
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": len(content), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if drop:
            content = content[: len(content) // 2]
        pieces = 10 if slow_s else 1
        for piece in range(pieces):
            self.wfile.write(content[len(content) * piece // pieces : len(content) * (piece + 1) // pieces])
            self.wfile.flush()
            time.sleep(slow_s / pieces)
        if drop:
            self.close_connection = True


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--vectors", choices=("cheap", "minilm"), default="cheap")
    parser.add_argument("--dims", type=int, default=16, help="of cheap vectors")
    parser.add_argument("--key", help="the only key that is accepted; without it, any")
    parser.add_argument("--delay-s", type=float, default=0.0, help="seconds that each request takes at least")
    args = parser.parse_args(argv)
    embed = minilm() if args.vectors == "minilm" else cheap(args.dims)
    with Server(args.port, embed, args.key, args.delay_s) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}/v1", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
