"""How many tokens a text has at most, and requests that stay within limits of inputs and tokens.

A byte-level BPE token, as OpenAI's models have them, holds at least one byte, so a text has at most as many tokens as
UTF-8 bytes. With the endpoint's own tokenizer.json the count is exact.
"""

from collections.abc import Sequence
from pathlib import Path

from pipeline.stage import UserError

CHUNK = 4096  # texts encoded together


def counts(texts: Sequence[str], tokenizer: str | None = None) -> list[int]:
    """Tokens of each text: exact by the Hugging Face tokenizer.json at `tokenizer`, else at most.

    Special tokens that the tokenizer adds to a text count. Raises UserError, naming the file, if it is missing or no
    tokenizer.
    """
    if tokenizer is None:
        return [len(text.encode()) for text in texts]
    if not Path(tokenizer).is_file():
        raise UserError(f"{tokenizer}: no such file")
    from tokenizers import Tokenizer  # only for those who have one

    try:
        encoder = Tokenizer.from_file(tokenizer)
    except Exception as error:  # tokenizers raises nothing more particular
        raise UserError(f"{tokenizer}: not a tokenizer ({error})") from None
    encoder.no_truncation()  # some files cut texts and fill them up to a length, which would hide the count
    encoder.no_padding()
    chunks = (list(texts[start : start + CHUNK]) for start in range(0, len(texts), CHUNK))
    return [len(encoding.ids) for chunk in chunks for encoding in encoder.encode_batch(chunk)]


def requests(tokens: Sequence[int], most_inputs: int, most_tokens: int) -> list[range]:
    """Consecutive inputs, as many a request as fit both limits. An input above the token limit stands alone."""
    found: list[range] = []
    start = total = 0
    for position, count in enumerate(tokens):
        if position > start and (position - start == most_inputs or total + count > most_tokens):
            found.append(range(start, position))
            start, total = position, 0
        total += count
    return [*found, range(start, len(tokens))] if len(tokens) > start else found
