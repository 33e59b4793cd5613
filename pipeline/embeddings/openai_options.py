"""Options of the source `openai`, checked; and the key, which is none of them."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pipeline.embeddings import openai_key, template
from pipeline.embeddings.openai_key import VARIABLE
from pipeline.stage import UserError, check_keys

WHAT = "embedding source openai"
OFFICIAL = "https://api.openai.com/v1"
PLACEHOLDER = "none"  # the client sends no request without a key
DEFAULT_PORTS = {"http": 80, "https": 443}
MOST_INPUTS = 2048  # a request's, says OpenAI's reference of /v1/embeddings

LIKE_A_KEY = re.compile("key|token|secret|password|credential|auth", re.IGNORECASE)


class Known(NamedTuple):
    """A model's price in US$ per million tokens (OpenAI's price list) and its own number of dimensions."""

    price: float
    dimensions: int
    takes_dimensions: bool = True


MODELS = {
    "text-embedding-ada-002": Known(0.10, 1536, takes_dimensions=False),
    "text-embedding-3-small": Known(0.02, 1536),
    "text-embedding-3-large": Known(0.13, 3072),
}


@dataclass(frozen=True)
class Options:
    """`dimensions` are those to ask for: None for the model's own. `price` and `max_cost`: US$; None if unknown.

    `max_cost` is for one run: another run may spend as much again. `timeout_s` is for a whole reply: a body that is not
    whole by then is given up at its next byte, or after as long again without one.
    """

    model: str
    base_url: str = OFFICIAL
    dimensions: int | None = None
    template: str = template.FIELD
    batch: int = 2048
    concurrency: int = 4
    max_input_tokens: int = 8191
    max_request_tokens: int = 300_000
    tokenizer: str | None = None
    price: float | None = None
    max_cost: float | None = None
    retries: int = 8
    timeout_s: float = 60
    cache: str = "data/embeddings/paid"
    licence: str = "as the endpoint's provider says"

    @property
    def workers(self) -> int:
        """Requests under way at a time: no more than there may be inputs."""
        return min(self.concurrency, self.batch)

    @property
    def request_inputs(self) -> int:
        """Inputs of a request, so that all that are under way hold at most `batch`."""
        return min(self.batch // self.workers, MOST_INPUTS)

    @property
    def expected_dimensions(self) -> int | None:
        """What every vector must have, where that is known before the first reply."""
        return self.dimensions or (MODELS[self.model].dimensions if self.model in MODELS else None)


STRINGS = ("model", "base_url", "template", "tokenizer", "cache", "licence")
COUNTS = ("dimensions", "batch", "concurrency", "max_input_tokens", "max_request_tokens", "retries")
AMOUNTS = ("price", "max_cost", "timeout_s")
OPTIONAL = ("dimensions", "tokenizer", "price", "max_cost")  # null is the same as leaving them out


def parse(given: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Options:
    """Raises UserError for unknown, missing and badly typed options, and for what looks like a key, never shown.

    A name or value looks like a key that holds the one of the environment, or anything of the form of one.
    """
    key = openai_key.of(environment)
    try:
        return _parsed(given, key)
    except UserError as error:
        raise UserError(openai_key.scrubbed(str(error), key)) from None


def _parsed(given: Mapping[str, Any], key: str | None) -> Options:
    names = {field.name for field in fields(Options)}
    advice = f"the key is read from the environment variable {VARIABLE} only"
    for name in sorted(given):
        if found := openai_key.held(name, key):
            raise UserError(f"{WHAT}: an option's name holds {found}; {advice}; take it out, and make a new key")
    for name in sorted(given.keys() - names):
        if LIKE_A_KEY.search(name):
            raise UserError(f"{WHAT}: option {name!r} looks like a key; {advice}, and never belongs in a configuration")
    for name in sorted(given):
        if found := openai_key.held(given[name], key):
            raise UserError(f"{WHAT}: option {name} holds {found}; {advice}; take it out, and make a new key")
    check_keys(WHAT, given, names, ("model",))
    options = {
        name: _checked(name, value) for name, value in given.items() if value is not None or name not in OPTIONAL
    }
    template.check(options.get("template", template.FIELD), WHAT)
    options["base_url"] = _base_url(options.get("base_url", OFFICIAL))
    model, known = options["model"], MODELS.get(options["model"])
    if known and not known.takes_dimensions and options.pop("dimensions", known.dimensions) != known.dimensions:
        raise UserError(f"{WHAT}: dimensions: {model} has {known.dimensions} and no others; leave the option out")
    if known:
        options.setdefault("price", known.price)
    if "max_cost" in options and "price" not in options:
        raise UserError(f"{WHAT}: max_cost needs option price (US$ per million tokens), which is not known of {model}")
    return Options(**options)


def api_key(options: Options, environment: Mapping[str, str], needed: bool = True) -> str | None:
    """The key to send, or None: an endpoint that is not OpenAI's may need none.

    Raises UserError, never showing the value, for a key that no header can carry, and where OpenAI's own endpoint is
    `needed` without one.
    """
    key = openai_key.of(environment)
    if key is None:
        host = urlsplit(options.base_url).hostname or ""
        if needed and (host == "api.openai.com" or host.endswith(".api.openai.com")):
            raise UserError(f"{WHAT}: the environment variable {VARIABLE} is not set; {options.base_url} needs a key")
        return None
    if not re.fullmatch(r"[!-~]+", key):
        raise UserError(f"{WHAT}: {VARIABLE} holds a blank or a character that is not ASCII; no key has one")
    return key


def _checked(name: str, value: Any) -> Any:
    if name in STRINGS and (not isinstance(value, str) or not value.strip()):
        raise UserError(f"{WHAT}: {name} must be a string with something in it, not {value!r}")
    if name in COUNTS and (type(value) is not int or value < 1):
        raise UserError(f"{WHAT}: {name} {value!r} is not a positive integer")
    if name in AMOUNTS:
        least = "more than 0" if name == "timeout_s" else "0 or more"
        if type(value) not in (int, float) or not 0 <= value < math.inf or (name == "timeout_s" and not value):
            raise UserError(f"{WHAT}: {name} {value!r} is not a number of {least}")
    return value


def _base_url(text: str) -> str:
    """One spelling of an endpoint, so that it has one store: small letters in scheme and host, no default port, single
    slashes. Raises UserError, not showing what may be a secret, if it is no plain URL."""
    try:
        url = urlsplit(text)
        plain = url.scheme in DEFAULT_PORTS and url.hostname and (url.port or True)
    except ValueError:
        plain = False
    if not plain or "@" in text or "?" in text or "#" in text or any(character.isspace() for character in text):
        raise UserError(f"{WHAT}: base_url must be http(s)://host[:port]/path, without user, password, query or blank")
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    port = "" if url.port in (None, DEFAULT_PORTS[url.scheme]) else f":{url.port}"
    return f"{url.scheme}://{host}{port}{re.sub('/+', '/', url.path).rstrip('/')}"
