"""One request through the `openai` client, and what its failure means.

The client's own retries are off: what may be tried again is a `Failure`, all else is a UserError. No text that leaves
this module holds the key, and while the client works its loggers and those of its transport are silent: at DEBUG they
print requests.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pipeline.embeddings import backoff
from pipeline.embeddings.openai_key import VARIABLE, scrubbed
from pipeline.embeddings.openai_options import PLACEHOLDER, WHAT, Options
from pipeline.embeddings.openai_reply import ReplyError, parse, said
from pipeline.embeddings.paid import Reply
from pipeline.stage import UserError

if TYPE_CHECKING:
    import openai

RETRIED = (408, 409, 429)  # and 500 and above
QUOTA = "insufficient_quota"  # a 429 that waiting does not cure
LONGEST = 300  # characters of what a server says
UNSENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError")  # the transport's: no server had the request
TALKATIVE = ("openai", "httpx", "httpx2", "httpcore", "httpcore2")


class Failure(NamedTuple):
    """What may be tried again: why it failed, the seconds that the server asks to wait, whether that goes for all
    workers, and the tokens that it may charge nevertheless: None where it does not tell and could charge all."""

    reason: str
    asked_s: float | None = None
    everyone: bool = False
    tokens: int | None = 0


@dataclass(frozen=True)
class Endpoint:
    """An open client with what every request says."""

    client: "openai.OpenAI"
    options: Options
    key: str | None = field(repr=False)


@contextmanager
def opened(options: Options, key: str | None) -> Iterator[Endpoint]:
    """The endpoint, as long as the block lasts, with silent loggers."""
    import openai  # a second: only for those who have something to pay

    with (
        _silent(),
        openai.OpenAI(
            api_key=key or PLACEHOLDER, base_url=options.base_url, max_retries=0, timeout=options.timeout_s
        ) as client,
    ):
        yield Endpoint(client, options, key)


def ask(endpoint: Endpoint, texts: Sequence[str]) -> Reply | Failure:
    """Send one request. Raises UserError for a refusal that another attempt would only meet again."""
    import openai

    options = endpoint.options
    deadline = time.monotonic() + options.timeout_s
    error: Exception
    try:
        with endpoint.client.embeddings.with_streaming_response.create(
            input=list(texts),
            model=options.model,
            encoding_format="base64",
            dimensions=openai.omit if options.dimensions is None else options.dimensions,
        ) as response:
            content = _content(response.iter_bytes(), deadline, options.timeout_s)
        return parse(content, len(texts))
    except ReplyError as wrong:
        return Failure(_one_line(str(wrong), endpoint.key), tokens=wrong.tokens)
    except Exception as caught:  # whatever it is: its text, and its traceback, may hold the key
        error = caught
    # Outside of the except block, so that no UserError drags the client's exception along.
    if isinstance(error, openai.APIStatusError):
        return _status(endpoint, error)
    if isinstance(error, openai.APIConnectionError):
        cause = error.__cause__ or error
        reason = f"connection failed ({type(cause).__name__}: {cause})"
        if isinstance(error, openai.APITimeoutError):
            reason = f"no reply within {options.timeout_s:g} s (option timeout_s)"
        return Failure(_one_line(reason, endpoint.key), tokens=0 if type(cause).__name__ in UNSENT else None)
    raise UserError(_one_line(f"{WHAT}: {type(error).__name__}: {error}", endpoint.key))


def _content(chunks: Iterable[bytes], deadline: float, timeout_s: float) -> bytes:
    """A reply's body. The client's timeout is for each read, so a body that comes in drops is given up here.

    Raises ReplyError for a body that is not whole by the deadline, or breaks off.
    """
    parts = []
    try:
        for chunk in chunks:
            parts.append(chunk)
            if time.monotonic() > deadline:
                break
        else:
            return b"".join(parts)
    except Exception as error:  # the transport's own: the client wraps only what comes before the body
        raise ReplyError(f"connection failed ({type(error).__name__}: {error})") from None
    raise ReplyError(f"no whole reply within {timeout_s:g} s (option timeout_s)")


def _status(endpoint: Endpoint, error: "openai.APIStatusError") -> Failure:
    """Raises UserError unless the status allows another attempt."""
    status, options = error.status_code, endpoint.options
    reason = _one_line(said(error.body or error.response.reason_phrase), endpoint.key)
    if status == 429 and QUOTA in (error.code, error.type):
        raise UserError(f"{WHAT}: the quota is used up ({status} {QUOTA}): {reason}")
    if status in RETRIED or status >= 500:
        return Failure(f"{status} {reason}", backoff.asked_s(error.response.headers, time.time()), status == 429)
    if status == 401:  # what the server says may repeat the key in part
        whose = f"the key of {VARIABLE} was refused" if endpoint.key else f"a key is needed, and {VARIABLE} is not set"
        raise UserError(f"{WHAT}: {options.base_url}: {whose} (401)")
    if status == 404:
        raise UserError(f"{WHAT}: no model {options.model!r} at {options.base_url} (404): {reason}")
    raise UserError(f"{WHAT}: {options.base_url} refused the request ({status}): {reason}")


def _one_line(text: str, key: str | None) -> str:
    line = " ".join(scrubbed(text, key).split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing below a warning from the client and its transport, whatever level they were given."""
    names = {*TALKATIVE, *(name for name in logging.root.manager.loggerDict if name.split(".")[0] in TALKATIVE)}
    loggers = [logging.getLogger(name) for name in sorted(names)]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
