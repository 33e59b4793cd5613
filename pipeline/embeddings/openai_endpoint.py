"""Source `openai`: each word, in a template, from an OpenAI-compatible endpoint (POST <base_url>/embeddings).

Nothing is paid for twice: every reply is on the disk (see paid.py) before its worker sends another request, and only
texts without a stored vector are sent. So kill -9 loses at most the requests under way, `batch` inputs together. The
texts are the key: another table of the same endpoint, model and dimensions reuses them. Only one process at a time pays
into a store; another waits for it, and pays for what is still missing then.

What it will cost at most is logged before the first request. `max_cost` bounds what one run spends, with the failed
attempts that a server may have charged: it stops the run there, or before any attempt that could exceed it. The key
comes from the environment variable OPENAI_API_KEY alone, and goes nowhere but into the request.
"""

import json
import logging
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.embeddings import backoff, openai_options, openai_request, paid, template, token_count
from pipeline.embeddings.budget import Budget, cost
from pipeline.embeddings.collected import Collected, Dimensions
from pipeline.embeddings.openai_options import WHAT, Options
from pipeline.embeddings.openai_purchase import Input, Part, Till, bought
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.embeddings.workers import as_they_come
from pipeline.stage import UserError, progress
from pipeline.store import EmbeddingTable, versions

log = logging.getLogger("pipeline")


@dataclass(frozen=True)
class Order:
    """What is asked for (each word has a text of its own), what the disk has of it, in the files `known` and not
    `damaged`, and what is left to be paid: its positions and their tokens at most."""

    options: Options
    words: Sequence[str]
    texts: list[str]
    folder: Path
    collected: Collected
    dimensions: Dimensions
    known: dict[Path, None]
    damaged: list[paid.Damaged]
    missing: list[int]
    tokens: list[int]

    def __str__(self) -> str:
        """Counts, tokens and price in one line."""
        total, price = sum(self.tokens), self.options.price
        money = "price unknown" if price is None else f"at most US$ {cost(total, price):.6f} (US$ {price:g} a million)"
        cached = len(self.texts) - len(self.missing)
        return (
            f"{self.options.model}: {len(self.texts)} inputs, {cached} cached, {len(self.missing)} to be paid, "
            f"at most {total} tokens, {money}"
        )


def read(vocabulary: Vocabulary | None, options: dict[str, Any], device: str = "cpu") -> EmbeddingTable:
    """The endpoint's vectors for the vocabulary's words.

    Options: `model` (required), `base_url`, `dimensions`, `template`, `batch` (most inputs under way at a time),
    `concurrency` (requests they are split into), `max_input_tokens`, `max_request_tokens`, `tokenizer` (a
    tokenizer.json), `price` (US$ per million tokens), `max_cost` (US$ of one run), `retries` (attempts of a request in
    a row), `timeout_s` (of a whole reply), `cache` (folder), `licence`; defaults stand in openai_options.py. No device.
    Raises UserError for other options, an input above the token limit, a cost above `max_cost`, a refusal, a request
    that keeps failing, and vectors of several lengths; OSError where the store cannot be read or written.
    """
    order = _order(vocabulary, options)
    log.info("%s", order)
    key = openai_options.api_key(order.options, os.environ, needed=bool(order.missing))
    if order.missing or order.damaged:
        with paid.locked(order.folder):  # so that nobody else pays for the same, or replaces what is set aside
            order = _read_again(order)
            for path, reason in order.damaged:
                log.warning("%s: damaged (%s); set aside, its texts are paid for again", path, reason)
            paid.set_aside(order.damaged)
            if order.missing:
                _pay(order, key)
    return EmbeddingTable(list(order.words), order.collected.vectors(), _facts(order))


def check(options: dict[str, Any]) -> None:
    """Raises UserError for options that cannot be, and for what looks like a key, never shown."""
    openai_options.parse(options)


def plan(vocabulary: Vocabulary | None, options: dict[str, Any]) -> str:
    """What `read` would ask for and pay, in a line. Sends and writes nothing. Raises UserError as `read` does."""
    order = _order(vocabulary, options)
    for path, reason in order.damaged:
        log.warning("%s: damaged (%s); its texts would be paid for again", path, reason)
    return str(order)


def _order(vocabulary: Vocabulary | None, given: dict[str, Any]) -> Order:
    """Raises UserError for what can be refused before anything is sent."""
    options = openai_options.parse(given)
    if vocabulary is None or not vocabulary.words:
        raise UserError(f"{WHAT}: needs a vocabulary of at least one word")
    words = vocabulary.words
    if len(set(words)) < len(words):
        raise UserError(f"{WHAT}: the vocabulary holds a word twice")
    texts = template.fill(options.template, words)
    folder = paid.folder(options.cache, options.base_url, options.model, options.dimensions)
    said_by = "option dimensions" if options.dimensions else f"model {options.model}"
    dimensions = Dimensions(options.expected_dimensions, said_by)
    order = Order(options, words, texts, folder, Collected(texts), dimensions, {}, [], [], [])
    damaged = _read_store(order)
    missing = order.collected.missing()
    tokens = token_count.counts([texts[position] for position in missing], options.tokenizer)
    order = replace(order, damaged=damaged, missing=missing, tokens=tokens)
    _check_limits(order)
    return order


def _read_store(order: Order) -> list[paid.Damaged]:
    """Collect what the files hold that are not known yet. Raises UserError for vectors of several lengths."""
    damaged: list[paid.Damaged] = []
    for path, texts, reply in paid.replies(order.folder, damaged, order.known):
        if not order.dimensions.agree(found := reply.vectors.shape[1], path):
            raise UserError(f"{path}: vectors of {found} values, not the {order.dimensions}; take the wrong ones away")
        order.collected.add(texts, reply)
        order.known[path] = None
    return damaged


def _read_again(order: Order) -> Order:
    """The order without what others have paid for since the store was read."""
    damaged = _read_store(order)
    tokens = dict(zip(order.missing, order.tokens, strict=True))
    missing = order.collected.missing()
    again = replace(order, damaged=damaged, missing=missing, tokens=[tokens[position] for position in missing])
    if len(missing) < len(order.missing):
        log.info("%s", again)
    return again


def _check_limits(order: Order) -> None:
    """Raises UserError for an input with too many tokens, and for an estimate above `max_cost`."""
    options = order.options
    for name in ("max_input_tokens", "max_request_tokens"):
        most = getattr(options, name)
        for position, count in zip(order.missing, order.tokens, strict=True):
            if count > most:
                advice = "" if options.tokenizer else " by its UTF-8 bytes; option tokenizer counts exactly"
                word = order.words[position]
                shown = word if len(word) <= 60 else f"{word[:60]}..."
                raise UserError(f"{WHAT}: {name} {most}: the word {shown!r} has up to {count} tokens{advice}")
    if options.price is not None and options.max_cost is not None:
        most_usd = cost(sum(order.tokens), options.price)
        if most_usd > options.max_cost:
            raise UserError(
                f"{WHAT}: max_cost {options.max_cost:g} (of one run) could be exceeded: {order}; nothing was sent"
            )


def _pay(order: Order, key: str | None) -> None:
    """Send what is missing, keep and collect what comes. Raises UserError; what came before it is kept."""
    options, gate = order.options, backoff.Gate()
    # Before anything is paid: a folder that cannot be written is known now.
    paid.prepare(order.folder, options.base_url, options.model, options.dimensions)
    budget = Budget(WHAT, options.price, options.max_cost)
    batches = token_count.requests(order.tokens, options.request_inputs, options.max_request_tokens)

    with openai_request.opened(options, key) as endpoint:
        till = Till(endpoint, gate, budget, order.folder, order.dimensions)

        def buy(batch: range) -> list[Part]:
            positions = order.missing[batch.start : batch.stop]
            tokens = order.tokens[batch.start : batch.stop]
            return bought(
                till,
                [
                    Input(order.texts[position], order.words[position], count)
                    for position, count in zip(positions, tokens, strict=True)
                ],
            )

        with closing(as_they_come(buy, batches, options.workers, gate.stop)) as results:
            for parts in progress(results, options.model, len(batches), "request"):
                for part in parts:
                    order.collected.add(*part)
    log.info("%s: %d inputs paid for, %d tokens", options.model, len(order.missing), budget.spent)


def _facts(order: Order) -> dict[str, str]:
    options, collected = order.options, order.collected
    facts = {
        "source": "openai",
        "model": options.model,
        "model_served": ", ".join(sorted(collected.models)),
        "base_url": options.base_url,
        "template": options.template,
        "dimensions": "the model's own" if options.dimensions is None else str(options.dimensions),
        "licence": options.licence,
        "normalisation": "none: raw values of the source",
        "digests": json.dumps({}),
        "versions": json.dumps(versions("openai")),
        "inputs": str(len(order.texts)),
    }
    if collected.tokens is not None:  # of the requests that gave these vectors, when- and for whatever table
        facts["tokens"] = str(collected.tokens)
        if options.price is not None:
            facts["cost_usd"] = f"{cost(collected.tokens, options.price):.8f}"
    return facts
