"""How fast source `openai` is, against a bare `openai` client with as many threads and inputs a request.

Ours is the whole source: options, batching, a client, replies checked, each kept as Parquet and flushed to the disk,
one table made of them. The peer makes a client and calls `embeddings.create` for the same batches, and keeps nothing.
The two take turns against one server on loopback, a process of its own, which needs some time for a request whatever
it holds; a row holds the medians.

Takes   nothing; the server is tests/embeddings/embedding_server.py.
Makes   a CSV: what, size (inputs), unit, ours, peer, peer_value, ratio (above 1: ours is faster).
"""

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import openai

from performance.measurement import medians, row, write_rows
from pipeline import stage
from pipeline.embeddings import openai_endpoint
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.stage import UserError

SERVER = Path(__file__).parents[1] / "tests" / "embeddings" / "embedding_server.py"
DIMENSIONS = 1536  # of text-embedding-ada-002 and -3-small


@contextmanager
def served(delay_s: float) -> Iterator[str]:
    """The base URL of a server that runs as long as the block, every request of which takes at least `delay_s`."""
    command = [sys.executable, str(SERVER), "--dims", str(DIMENSIONS), "--delay-s", str(delay_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None or not (base_url := process.stdout.readline().strip()):
                raise UserError(f"{SERVER}: the server does not start")
            yield base_url
        finally:
            process.terminate()


def measure(inputs: int, request_inputs: int, concurrency: int, delay_s: float, runs: int) -> dict[str, str]:
    """One row of the table: inputs a second of both, medians of `runs` interleaved runs."""
    words = [f"word-{number}" for number in range(inputs)]
    with served(delay_s) as base_url, tempfile.TemporaryDirectory() as folder:
        caches = (str(Path(folder) / str(number)) for number in range(runs + 1))

        def ours() -> None:
            options = {"model": "measured", "base_url": base_url, "cache": next(caches), "concurrency": concurrency}
            openai_endpoint.read(Vocabulary(words), {**options, "batch": request_inputs * concurrency})

        def peer() -> None:
            batches = [words[start : start + request_inputs] for start in range(0, inputs, request_inputs)]
            with openai.OpenAI(api_key="none", base_url=base_url) as client, ThreadPoolExecutor(concurrency) as pool:
                for reply in pool.map(lambda batch: client.embeddings.create(model="measured", input=batch), batches):
                    if len(reply.data[0].embedding) != DIMENSIONS:
                        raise UserError(f"{base_url}: vectors of another length than {DIMENSIONS}")

        ours_s, peer_s = medians(runs, "endpoint", ours, peer)
    return row(
        f"embedding through an endpoint, {concurrency} requests of {request_inputs} at a time",
        *(f"{inputs} inputs of {DIMENSIONS} dimensions", "inputs/s", inputs / ours_s),
        *(f"openai {metadata.version('openai')} embeddings.create", inputs / peer_s),
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--inputs", type=int, default=8192, help="inputs of one measurement")
    parser.add_argument("--request-inputs", type=int, default=512, help="inputs of one request")
    parser.add_argument("--concurrency", type=int, default=4, help="requests under way at a time")
    parser.add_argument("--delay-s", type=float, default=0.05, help="seconds that the server takes for a request")
    parser.add_argument("--runs", type=int, default=5, help="runs of each, at least five for a median worth its name")
    parser.add_argument("--output", required=True, help="CSV file to write")
    arguments = parser.parse_args(argv)
    counts = (arguments.inputs, arguments.request_inputs, arguments.concurrency, arguments.runs)
    if min(counts) < 1 or arguments.request_inputs > 2048 or arguments.delay_s < 0:
        raise UserError(
            "--inputs, --request-inputs (to 2048), --concurrency and --runs must be at least 1, --delay-s 0"
        )
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for each of the peer's requests costs it time
    row = measure(*counts[:3], arguments.delay_s, arguments.runs)
    write_rows(arguments.output, [row])


if __name__ == "__main__":
    os.environ.pop("OPENAI_API_KEY", None)  # a server of our own needs none
    sys.exit(stage.run(main))
