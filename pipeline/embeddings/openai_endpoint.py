"""Source `openai`: each word, in a template, from an OpenAI-compatible endpoint (POST <base_url>/embeddings).

Nothing is paid for twice: every reply is on the disk (see paid.py) before its worker sends another request, and only
texts without a stored vector are sent. So kill -9 loses at most the requests under way, `batch` inputs together. The
texts are the key: another table of the same endpoint, model and dimensions reuses them.

What it will cost at most is logged before the first request; `max_cost` stops it there, or later if the server's own
count of tokens says so. The key comes from the environment variable OPENAI_API_KEY alone, and goes nowhere but into the
request.
"""

import json
import logging
import os
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.embeddings import backoff, openai_options, openai_request, paid, template, token_count
from pipeline.embeddings.budget import Budget, cost
from pipeline.embeddings.collected import Collected, Dimensions
from pipeline.embeddings.openai_options import WHAT, Options
from pipeline.embeddings.openai_reply import unusable
from pipeline.embeddings.openai_request import Endpoint, Failure
from pipeline.embeddings.paid import Reply
from pipeline.embeddings.vocabulary import Vocabulary
from pipeline.embeddings.workers import as_they_come
from pipeline.stage import UserError, progress
from pipeline.store import EmbeddingTable, versions

LONGEST_WAIT_S = 600  # what a server may ask for; the same command goes on later

log = logging.getLogger("pipeline")


class Wanted(NamedTuple):
    """The different texts of a vocabulary in its order, each one's (first) word, and each word's text by position."""

    texts: list[str]
    words: list[str]
    position: list[int]


@dataclass(frozen=True)
class Order:
    """What is asked for, what the disk has of it, and what is left to be paid: its positions and tokens at most."""

    options: Options
    wanted: Wanted
    folder: Path
    collected: Collected
    damaged: list[paid.Damaged]
    dimensions: Dimensions
    missing: list[int]
    tokens: list[int]

    def __str__(self) -> str:
        """Counts, tokens and price in one line."""
        total, price = sum(self.tokens), self.options.price
        money = "price unknown" if price is None else f"at most US$ {cost(total, price):.6f} (US$ {price:g} a million)"
        cached = len(self.wanted.texts) - len(self.missing)
        return (
            f"{self.options.model}: {len(self.wanted.texts)} inputs, {cached} cached, {len(self.missing)} to be paid, "
            f"at most {total} tokens, {money}"
        )


def read(vocabulary: Vocabulary | None, options: dict[str, Any], device: str = "cpu") -> EmbeddingTable:
    """The endpoint's vectors for the vocabulary's words.

    Options: `model` (required), `base_url`, `dimensions`, `template`, `batch` (most inputs under way at a time),
    `concurrency` (requests they are split into), `max_input_tokens`, `max_request_tokens`, `tokenizer` (a
    tokenizer.json), `price` (US$ per million tokens), `max_cost` (US$), `retries` (attempts of a request in a row),
    `timeout_s`, `cache` (folder), `licence`; defaults stand in openai_options.py. No device. Raises UserError for other
    options, an input above the token limit, a cost above `max_cost`, a refusal, and a request that keeps failing.
    """
    order = _order(vocabulary, options)
    for path, reason in order.damaged:
        log.warning("%s: damaged (%s); set aside, its texts are paid for again", path, reason)
    paid.set_aside(order.damaged)
    log.info("%s", order)
    key = openai_options.api_key(order.options, os.environ, needed=bool(order.missing))
    if order.missing:
        _pay(order, key)
    vectors, position = order.collected.vectors(), order.wanted.position
    alone = len(vectors) == len(position)  # every word has a text of its own: no second copy of a large table
    words = list(vocabulary.words) if vocabulary else []
    return EmbeddingTable(words, vectors if alone else vectors[position], _facts(order))


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
    wanted = _wanted(vocabulary.words, options.template)
    folder = paid.folder(options.cache, options.base_url, options.model, options.dimensions)
    collected, damaged = Collected(wanted.texts), list[paid.Damaged]()
    dimensions = Dimensions(options.expected_dimensions)
    for path, texts, reply in paid.replies(folder, damaged):
        if not dimensions.agree(found := reply.vectors.shape[1]):
            raise UserError(f"{path}: vectors of {found} values, not {dimensions.expected}; take the wrong ones away")
        collected.add(texts, reply)
    missing = collected.missing()
    tokens = token_count.counts([wanted.texts[position] for position in missing], options.tokenizer)
    order = Order(options, wanted, folder, collected, damaged, dimensions, missing, tokens)
    _check_limits(order)
    return order


def _wanted(words: Sequence[str], text_template: str) -> Wanted:
    texts = template.fill(text_template, words)
    first: dict[str, str] = {}
    for text, word in zip(texts, words, strict=True):
        first.setdefault(text, word)
    position = {text: number for number, text in enumerate(first)}
    return Wanted(list(first), list(first.values()), [position[text] for text in texts])


def _check_limits(order: Order) -> None:
    """Raises UserError for an input with too many tokens, and for an estimate above `max_cost`."""
    options = order.options
    for name in ("max_input_tokens", "max_request_tokens"):
        most = getattr(options, name)
        for position, count in zip(order.missing, order.tokens, strict=True):
            if count > most:
                advice = "" if options.tokenizer else " by its UTF-8 bytes; option tokenizer counts exactly"
                word = order.wanted.words[position]
                shown = word if len(word) <= 60 else f"{word[:60]}..."
                raise UserError(f"{WHAT}: {name} {most}: the word {shown!r} has up to {count} tokens{advice}")
    if options.price is not None and options.max_cost is not None:
        most_usd = cost(sum(order.tokens), options.price)
        if most_usd > options.max_cost:
            raise UserError(f"{WHAT}: max_cost {options.max_cost:g} could be exceeded: {order}; nothing was sent")


def _pay(order: Order, key: str | None) -> None:
    """Send what is missing, keep and collect what comes. Raises UserError; what came before it is kept."""
    options, gate = order.options, backoff.Gate()
    # Before anything is paid: a folder that cannot be written is known now.
    paid.prepare(order.folder, options.base_url, options.model, options.dimensions)
    budget = Budget(WHAT, options.price, options.max_cost)
    batches = token_count.requests(order.tokens, options.request_inputs, options.max_request_tokens)

    def bound(batch: range) -> int:
        return sum(order.tokens[batch.start : batch.stop])

    def affordable() -> Iterator[range]:
        for batch in batches:
            budget.reserve(bound(batch))
            yield batch

    with openai_request.opened(options, key) as endpoint:

        def buy(batch: range) -> tuple[range, list[str], Reply, int]:
            positions = order.missing[batch.start : batch.stop]
            texts = [order.wanted.texts[position] for position in positions]
            words = [order.wanted.words[position] for position in positions]
            return batch, texts, *_bought(endpoint, gate, order, texts, words)

        with closing(as_they_come(buy, affordable(), options.workers, gate.stop)) as results:
            for batch, texts, reply, wasted in progress(results, options.model, len(batches), "request"):
                budget.settle(bound(batch), wasted + (bound(batch) if reply.tokens is None else reply.tokens))
                order.collected.add(texts, reply)
    log.info("%s: %d inputs paid for, %d tokens", options.model, len(order.missing), budget.spent)


def _bought(
    endpoint: Endpoint, gate: backoff.Gate, order: Order, texts: list[str], words: list[str]
) -> tuple[Reply, int]:
    """The reply to one request, already on the disk, and the tokens that failed attempts took.

    Raises UserError when attempts run out, and CancelledError where other work has failed meanwhile.
    """
    failures = unusable_replies = wasted = 0
    wait_s = 0.0
    while gate.passed(wait_s):
        answer = openai_request.ask(endpoint, texts)
        if isinstance(answer, Reply) and not order.dimensions.agree(found := answer.vectors.shape[1]):
            answer = Failure(
                f"the reply's vectors have {found} values, not {order.dimensions.expected}", tokens=answer.tokens or 0
            )
        if isinstance(answer, Reply):
            bad = unusable(answer.vectors)
            if bad is None:
                paid.write(order.folder, texts, answer)
                return answer, wasted
            reason = f"the endpoint gives {bad.what} for the word {words[bad.position]!r}"
            unusable_replies += 1
            if unusable_replies == 2:
                _keep_usable(order.folder, texts, answer)
                raise UserError(f"{WHAT}: {reason}, twice")
            answer = Failure(reason, tokens=answer.tokens or 0)
        failures += 1
        wasted += answer.tokens
        if failures == order.options.retries:
            raise UserError(f"{WHAT}: {failures} attempts of a request failed in a row, the last: {answer.reason}")
        if (answer.asked_s or 0) > LONGEST_WAIT_S:
            raise UserError(
                f"{WHAT}: the server asks to wait {answer.asked_s:.0f} s: {answer.reason}; run it again then"
            )
        wait_s = backoff.delay_s(failures, random.random(), answer.asked_s)
        if answer.everyone:
            gate.shut(wait_s)
        text = "%s: attempt %d of %d: %s; the next in %.1f s"
        log.warning(text, endpoint.options.model, failures, order.options.retries, answer.reason, wait_s)
    raise CancelledError


def _keep_usable(folder: Path, texts: list[str], reply: Reply) -> None:
    """Keep the vectors that can be used of a reply where some cannot: they are paid for too."""
    rows = np.flatnonzero(np.isfinite(reply.vectors).all(axis=1) & reply.vectors.any(axis=1))
    if len(rows):
        paid.write(folder, [texts[row] for row in rows], reply._replace(vectors=reply.vectors[rows]))


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
        "inputs": str(len(order.wanted.texts)),
    }
    if collected.tokens is not None:  # of the requests that gave these vectors, when- and for whatever table
        facts["tokens"] = str(collected.tokens)
        if options.price is not None:
            facts["cost_usd"] = f"{cost(collected.tokens, options.price):.8f}"
    return facts
