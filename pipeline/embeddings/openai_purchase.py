"""One request of source `openai` until it has succeeded: attempts, what they may cost, and what is kept of them.

Everything that can be used is on the disk before the next attempt. Vectors that cannot be used are asked for once more,
without the others; so are vectors of another length than those before, and meanwhile nobody else sends anything: if the
length stays another one, nothing that the others would buy could be kept.
"""

import logging
import random
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pipeline.embeddings import backoff, openai_request, paid
from pipeline.embeddings.budget import Budget
from pipeline.embeddings.collected import Dimensions
from pipeline.embeddings.openai_options import WHAT
from pipeline.embeddings.openai_reply import unusable, usable
from pipeline.embeddings.openai_request import Endpoint, Failure
from pipeline.embeddings.paid import Reply
from pipeline.stage import UserError

LONGEST_WAIT_S = 600  # what a server may ask for; the same command goes on later

log = logging.getLogger("pipeline")


class Input(NamedTuple):
    """A text, its word, and the tokens it has at most."""

    text: str
    word: str
    tokens: int


class Part(NamedTuple):
    """Texts and their vectors, all of which can be used."""

    texts: list[str]
    reply: Reply


@dataclass(frozen=True)
class Till:
    """What all requests of a run share."""

    endpoint: Endpoint
    gate: backoff.Gate
    budget: Budget
    folder: Path
    dimensions: Dimensions


def bought(till: Till, inputs: Sequence[Input]) -> list[Part]:
    """The vectors of all inputs, already on the disk.

    Raises UserError when attempts or money run out, and for vectors that twice cannot be used or have another length;
    what came before that is kept. Raises CancelledError where other work has failed meanwhile.
    """
    parts: list[Part] = []
    failures, wait_s = 0, 0.0
    bad_before = other_before = False
    try:
        while till.gate.passed(wait_s):
            answer = _attempt(till, inputs)
            if isinstance(answer, Reply):
                rows = usable(answer.vectors)
                texts = [item.text for item, there in zip(inputs, rows, strict=True) if there]
                found = answer.vectors.shape[1]
                if texts and not till.dimensions.agree(found, paid.reply_path(till.folder, texts)):
                    reason = f"the reply's vectors have {found} values, not the {till.dimensions}"
                    if other_before:
                        raise UserError(
                            f"{WHAT}: {reason}, twice; take away what is wrong of the two; the rest is kept"
                        )
                    other_before = True
                    if not till.gate.hold():
                        break
                else:
                    till.gate.release()
                    if texts:
                        kept = answer if rows.all() else answer._replace(vectors=answer.vectors[rows])
                        paid.write(till.folder, texts, kept)
                        parts.append(Part(texts, kept))
                    if (bad := unusable(answer.vectors)) is None:
                        return parts
                    reason = f"the endpoint gives {bad.what} for the word {inputs[bad.position].word!r}"
                    if bad_before:
                        raise UserError(f"{WHAT}: {reason}, twice")
                    bad_before = True
                    inputs = [item for item, there in zip(inputs, rows, strict=True) if not there]
                answer = Failure(reason)
            failures += 1
            wait_s = _wait_s(till, answer, failures)
    except BaseException:
        till.gate.stop()  # before it is released: what the others would send now could be in vain
        raise
    finally:
        till.gate.release()
    raise CancelledError


def _attempt(till: Till, inputs: Sequence[Input]) -> Reply | Failure:
    """Send one request within the budget, which is told what it took: the most it could, where nobody knows."""
    most = sum(item.tokens for item in inputs)
    till.budget.reserve(most)
    try:
        answer = openai_request.ask(till.endpoint, [item.text for item in inputs])
    except UserError:  # a refusal costs nothing
        till.budget.settle(most, 0)
        raise
    till.budget.settle(most, most if answer.tokens is None else answer.tokens)
    return answer


def _wait_s(till: Till, failure: Failure, failures: int) -> float:
    """Seconds to wait after so many failures in a row, logged. Raises UserError where it is not worth it."""
    options = till.endpoint.options
    if failures == options.retries:
        raise UserError(f"{WHAT}: {failures} attempts of a request failed in a row, the last: {failure.reason}")
    if (failure.asked_s or 0) > LONGEST_WAIT_S:
        raise UserError(f"{WHAT}: the server asks to wait {failure.asked_s:.0f} s: {failure.reason}; run it again then")
    wait_s = backoff.delay_s(failures, random.random(), failure.asked_s)
    if failure.everyone:
        till.gate.shut(wait_s)
    text = "%s: attempt %d of %d: %s; the next in %.1f s"
    log.warning(text, options.model, failures, options.retries, failure.reason, wait_s)
    return wait_s
