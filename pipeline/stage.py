"""What every stage's command line shares: one-line errors, logging, progress, devices.

A stage is a module with a pure function and a `main(argv)` around it, closed by

    if __name__ == "__main__":
        sys.exit(stage.run(main))
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

log = logging.getLogger("pipeline")


class UserError(Exception):
    """Bad input. The message is one line that names the file, key, row or value, and says what would be right."""


def parser(doc: str | None) -> argparse.ArgumentParser:
    """An argument parser whose help is the stage's module docstring and shows every default."""

    class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
        pass

    return argparse.ArgumentParser(description=doc, formatter_class=Help, allow_abbrev=False)


def options(text: str) -> dict[str, Any]:
    """Parse a JSON object given on the command line. Raises UserError if it is not one."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"options are not JSON ({error.msg} at character {error.pos})") from None
    if not isinstance(value, dict):
        raise UserError(f"options must be a JSON object, not {type(value).__name__}")
    return value


def check_keys(what: str, given: Iterable[str], allowed: Iterable[str], required: Iterable[str] = ()) -> None:
    """Refuse unknown and missing keys by name. Raises UserError."""
    allowed, required, given = set(allowed), set(required), set(given)
    if unknown := sorted(given - allowed - required):
        raise UserError(f"{what}: unknown key {unknown[0]!r}; known are {', '.join(sorted(allowed | required))}")
    if missing := sorted(required - given):
        raise UserError(f"{what}: key {missing[0]!r} is missing")


def progress(items: Iterable[Item], what: str, total: int | None = None, unit: str = "it") -> Iterable[Item]:
    """`items`, with a progress bar on standard error; a line every five seconds where that is not a terminal."""
    interval_s = 0.5 if sys.stderr.isatty() else 5
    return tqdm(items, desc=what, total=total, unit=unit, file=sys.stderr, mininterval=interval_s)


def device(name: str) -> str:
    """The torch device for `auto`, `cpu` or `cuda`. Raises UserError where `cuda` is asked for and there is none."""
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"device: {name!r} is not one of auto, cpu, cuda")
    if name == "cpu":
        return "cpu"
    import torch  # two seconds: only for those who ask about an accelerator

    if torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise UserError("device: cuda was asked for, but torch finds no CUDA device here; use auto or cpu")
    return "cpu"


def run(main: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None = None) -> int:
    """Run a stage. Bad input ends in one line on standard error and exit code 1, never in a traceback."""
    logging.basicConfig(
        level=os.environ.get("PIPELINE_LOG_LEVEL", "INFO"),
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
    )
    for talkative in ("faiss.loader", "httpx", "httpx2"):  # a line for each module tried, each request with its URL
        logging.getLogger(talkative).setLevel(logging.WARNING)
    try:
        main(argv)
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except OSError as error:  # an output that cannot be written, a full disk
        print(f"error: {error.filename or 'input or output'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0
