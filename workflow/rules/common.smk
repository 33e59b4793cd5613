# What the rules share: the checked configuration, the files that a job's code consists of, one run at a time.

import fcntl
import json
import os
import sys
from glob import glob
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

from pipeline import codec, configuration, dependencies, scheduler_timer
from pipeline.corpus import source as corpus_source
from pipeline.corpus.source import SOURCES as CORPUS_SOURCES
from pipeline.embeddings.source import SOURCES as EMBEDDING_SOURCES
from pipeline.embeddings.source import check_name, check_options, check_vocabulary
from pipeline.evaluation import sets
from pipeline.spikes import carried
from pipeline.stage import UserError

# `.venv/bin/snakemake` without activation: the jobs' `python` has to be the one that runs this.
os.environ["PATH"] = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ["PATH"]]
)


HALF_THE_CORES = max(1, (workflow.cores or 1) // 2)

# Embedding sources that are trained on the corpus.
CORPUS_TRAINED = ("fasttext_train", "skipgram")


def checked(config):
    """The configuration itself, if it fits the schema and the names are free. A wrong key is named, in one line."""
    schema = Path(workflow.basedir, "workflow/schemas/config.schema.yaml")
    try:
        configuration.check(config, yaml.safe_load(schema.read_text(encoding="utf-8")))
        for name, embedding in config["embeddings"].items():
            check_options(embedding["source"], embedding.get("options", {}))
            check_name(name, embedding["source"], embedding.get("options", {}))
            check_vocabulary(
                name,
                embedding["source"],
                embedding.get("options", {}),
                embedding.get("vocabulary", "corpus") == "all",
                "within" in embedding,
            )
            if (
                embedding["source"] not in CORPUS_TRAINED
            ):  # it reads what the workflow makes
                for path in embedding_files(embedding.get("options", {})):
                    check_file(f"embeddings.{name}.options", path)
        corpus_source.open_source(
            config["corpus"]["source"], config["corpus"]["options"]
        )
        for name, source in config["evaluation"]["similarity"].items():
            sets.check_name(name)
            if source is not None:
                check_file(f"evaluation.similarity.{name}", sets.locate(name, source))
        analogy = config["evaluation"]["analogy"]
        check_file("evaluation.analogy", sets.locate("analogy", analogy))
    except UserError as error:
        sys.exit(f"error: {error}")
    return config


def embedding_files(options):
    """The files of its own that an embedding is read from."""
    found = [
        path
        for key in ("path", "words", "tokenizer")
        if isinstance(options.get(key), str)
        for path in sorted(glob(options[key], recursive=True)) or [options[key]]
    ]
    model = options.get("model")
    return found + [model] * (isinstance(model, str) and Path(model).is_dir())


def check_file(key, path):
    if not Path(path).exists():
        raise UserError(f"config: {key}: {path}: no such file")


def code(*modules):
    """The files that running these modules imports: a job's input, so that editing one of them reruns the job."""
    return dependencies.files(*modules)


def is_spikes(module):
    """Whether a codec module is one of spike codes."""
    return codec.dotted(module).startswith("pipeline.spikes.")


def codec_modules(module, names):
    """What a job of a codec module runs: the module, and those of the codes that its codecs carry."""
    inner = [
        carried.parts(name)[1]
        for name in names
        if name.startswith("carried_") and is_spikes(module)
    ]
    return [codec.dotted(one) for one in (module, *dict.fromkeys(inner))]


def as_json(value):
    """A part of the configuration as a command-line argument."""
    return json.dumps(value, sort_keys=True)


config = checked(config)

EMBEDDINGS = config["embeddings"]
TABLES = config["tables"]
SEEDS = config["evaluation"]["seeds"]
# Whether some table that is measured is asked for the words of the corpus, or trained on it: a run on ready vectors alone
# leaves the text out.
NEEDS_CORPUS = any(
    EMBEDDINGS[part].get("vocabulary", "corpus") == "corpus"
    or EMBEDDINGS[part]["source"] in CORPUS_TRAINED
    for table in TABLES
    for part in configuration.parts(table)
)


wildcard_constraints:
    embedding="[^/+]+",
    table="[^/]+",
    module="[a-z_0-9]+",


RUN_LOCKS = []


# Snakemake's own lock outlives kill -9 and then asks for --unlock (profiles/default turns it off). The kernel drops this
# one with the process that holds it, whatever became of that.
onstart:
    Path(".snakemake").mkdir(exist_ok=True)
    run_lock = open(".snakemake/run.lock", "w")
    try:
        fcntl.flock(run_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WorkflowError(
            f"another run is at work in {os.getcwd()}: wait for it, or use --directory"
        ) from None
    RUN_LOCKS.append(run_lock)  # closed, so released, when this process ends
    scheduler_timer.use_one_timer(workflow.scheduler)
