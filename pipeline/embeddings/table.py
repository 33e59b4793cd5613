"""Write one named embedding table.

Takes:  a source by name with its options (pipeline/embeddings/source.py has them all), and the words that are wanted
        (Parquet `word: string, count: int64, always: bool`, in order of priority; without it, all words the source has)
Makes:  Parquet `word: string, vector: fixed_size_list<float32>[d]`, raw values of the source, its facts in the schema

`--dry-run` prints what the source would be asked for (and what an endpoint would be paid) and does nothing.
`--within` keeps only the words that other embedding tables have too, so that tables can be compared word for word.
"""

import logging
import sys
from collections.abc import Collection, Sequence
from typing import Any

from pipeline import stage
from pipeline.embeddings import source as sources
from pipeline.embeddings.vocabulary import Vocabulary, read_vocabulary, within
from pipeline.stage import UserError
from pipeline.store import EmbeddingTable, digest, read_parquet, write_embedding

log = logging.getLogger("pipeline")


def embedding_table(
    name: str, source: str, options: dict[str, Any], vocabulary: Vocabulary | None, device: str = "cpu"
) -> EmbeddingTable:
    """The table called `name`. Raises UserError for a name that is not what the table is, and as the source does."""
    sources.check_options(source, options)  # first: it shows no key that stands in an option
    sources.check_name(name, source, options)
    table = sources.read(source, vocabulary, options, device)
    sources.check_dimensions(name, table.vectors.shape[1])
    return EmbeddingTable(table.words, table.vectors, {"name": name, **table.facts})


def plan(name: str, source: str, options: dict[str, Any], vocabulary: Vocabulary | None) -> str:
    """What the source would be asked for, in a line: its own `plan`, where it has one, else the number of words.

    Raises UserError for a name that is not what the table is, an unknown source, and as the source's `plan` does.
    """
    sources.check_options(source, options)  # first: it shows no key that stands in an option
    sources.check_name(name, source, options)
    module = sources.module(source)
    if hasattr(module, "plan"):
        return f"{name}: {module.plan(vocabulary, options)}"
    return f"{name}: {'all' if vocabulary is None else len(vocabulary.words)} words are asked of source {source}"


def wanted(path: str | None, within_paths: Collection[str]) -> Vocabulary | None:
    """The vocabulary at `path` as far as all the embedding tables `within_paths` have its words; None for no path.

    Raises UserError if no word is left, or if there are tables to stay within but no vocabulary.
    """
    if path is None:
        if within_paths:
            raise UserError("--within needs --vocabulary")
        return None
    vocabulary = read_vocabulary(path)
    for other in within_paths:
        vocabulary = within(vocabulary, read_parquet(other, ["word"]).column("word").to_pylist())
        if not vocabulary.words:
            raise UserError(f"{other}: has no word of {path}")
    return vocabulary


def main(argv: Sequence[str] | None = None) -> None:
    parser = stage.parser(__doc__)
    parser.add_argument("--name", required=True, help="the table's name: that of what it really is")
    parser.add_argument("--source", required=True, help=f"one of {', '.join(sorted(sources.SOURCES))}")
    parser.add_argument("--options", default="{}", help="the source's options, a JSON object")
    parser.add_argument("--vocabulary", help="Parquet of the words wanted; without it, all words the source has")
    parser.add_argument("--within", nargs="+", default=[], metavar="TABLE", help="embedding tables to stay within")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda; only sentence_transformers computes")
    parser.add_argument("--dry-run", action="store_true", help="say what would be asked for; send and write nothing")
    parser.add_argument("--output", help="Parquet file to write; required but for --dry-run")
    args = parser.parse_args(argv)
    if not args.output and not args.dry_run:
        parser.error("the following arguments are required: --output")
    options = stage.options(args.options)
    vocabulary = wanted(args.vocabulary, args.within)
    if args.dry_run:
        print(plan(args.name, args.source, options, vocabulary))
        return
    table = embedding_table(args.name, args.source, options, vocabulary, args.device)
    if args.vocabulary:
        table.facts["vocabulary"] = digest(args.vocabulary)
    write_embedding(args.output, table)
    log.info("%s: %d words x %d dimensions", args.output, *table.vectors.shape)


if __name__ == "__main__":
    sys.exit(stage.run(main))
