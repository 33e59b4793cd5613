"""Stage: document shards to a byte-level BPE tokenizer.

Takes   the directory of document shards.
Makes   tokenizer.json, as Hugging Face tokenizers reads it: normaliser (NFKC, then lower case if asked), byte-level
        pre-tokenizer and decoder, byte-pair merges learnt from the whole corpus, and the special tokens first.

Byte-level: every text can be encoded, and decoding gives back the normalised text exactly. The text is streamed, and
the same shards give the same file. (R. Sennrich, B. Haddow and A. Birch, "Neural Machine Translation of Rare Words with
Subword Units", ACL 2016; byte level as in GPT-2.)
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from pipeline import stage, store
from pipeline.corpus.documents import read_texts
from pipeline.stage import UserError

END_OF_TEXT = "<|endoftext|>"


def train(
    batches: Iterable[Sequence[str]],
    vocabulary_size: int,
    lowercase: bool = True,
    special_tokens: Sequence[str] = (END_OF_TEXT,),
) -> Tokenizer:
    """A byte-level BPE tokenizer of `vocabulary_size` tokens, special tokens and the 256 bytes among them.

    Raises UserError if `special_tokens` lack the end-of-text token or repeat one, or if the text does not hold enough
    different pairs for the size.
    """
    special_tokens = list(special_tokens)
    if END_OF_TEXT not in special_tokens or len(set(special_tokens)) < len(special_tokens):
        raise UserError(f"special tokens must be different and hold {END_OF_TEXT}, not {' '.join(special_tokens)}")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if vocabulary_size < (least := len(alphabet) + len(special_tokens)):
        raise UserError(f"a vocabulary of {vocabulary_size} tokens was asked for; bytes and special tokens are {least}")
    tokenizer = Tokenizer(models.BPE())
    steps = [normalizers.NFKC(), *([normalizers.Lowercase()] if lowercase else [])]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=special_tokens,
        initial_alphabet=alphabet,
        show_progress=sys.stderr.isatty(),
    )
    tokenizer.train_from_iterator(batches, trainer)
    if (trained := tokenizer.get_vocab_size()) < vocabulary_size:
        raise UserError(f"a vocabulary of {vocabulary_size} tokens was asked for; the corpus gives only {trained}")
    return tokenizer


def load(path: str | Path) -> Tokenizer:
    """The tokenizer of a tokenizer.json; special tokens that stand in a text are read as plain text.

    Raises UserError, naming the file, if it is missing or no tokenizer.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing more particular
        raise UserError(f"{path}: not a tokenizer ({error})") from None
    # Else a page that writes "<|endoftext|>" would end there.
    tokenizer.encode_special_tokens = True
    return tokenizer


def _batches(shards: Sequence[Path]) -> Iterator[list[str]]:
    for shard in stage.progress(shards, "tokenizer: reading", unit=" shards"):
        yield from read_texts(shard)


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--documents", required=True, help="directory of document shards")
    parser.add_argument("--vocabulary-size", type=int, default=16384, help="number of tokens, special tokens included")
    parser.add_argument("--lowercase", action="store_true", help="lower-case the text before tokenizing")
    parser.add_argument("--special-tokens", nargs="+", default=[END_OF_TEXT], help="tokens that no text can produce")
    parser.add_argument("--output", required=True, help="tokenizer.json to write")
    arguments = parser.parse_args(argv)
    batches = _batches(store.shards(arguments.documents))
    tokenizer = train(batches, arguments.vocabulary_size, arguments.lowercase, arguments.special_tokens)
    with store.atomic_file(arguments.output) as path:
        path.write_text(tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")
    stage.log.info("%d tokens at %s", tokenizer.get_vocab_size(), arguments.output)


if __name__ == "__main__":
    sys.exit(stage.run(main))
