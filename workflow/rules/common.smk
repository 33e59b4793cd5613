# What the rules share: the checked configuration, the files that a job's code consists of, one run at a time.

import fcntl
import json
import os
import sys
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

from pipeline import configuration, dependencies
from pipeline.corpus.source import SOURCES as CORPUS_SOURCES
from pipeline.embeddings.source import SOURCES as EMBEDDING_SOURCES
from pipeline.embeddings.source import check_name
from pipeline.evaluation import sets
from pipeline.stage import UserError

# `.venv/bin/snakemake` without activation: the jobs' `python` has to be the one that runs this.
os.environ["PATH"] = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ["PATH"]]
)


def checked(config):
    """The configuration itself, if it fits the schema and the names are free. A wrong key is named, in one line."""
    schema = Path(workflow.basedir, "workflow/schemas/config.schema.yaml")
    try:
        configuration.check(config, yaml.safe_load(schema.read_text(encoding="utf-8")))
        for name, embedding in config["embeddings"].items():
            check_name(name, embedding["source"], embedding.get("options", {}))
        for name, source in config["evaluation"]["similarity"].items():
            sets.check_name(name)
            if source == "packaged":
                sets.locate(name, source)
    except UserError as error:
        sys.exit(f"error: {error}")
    return config


def code(*modules):
    """The files that running these modules imports: a job's input, so that editing one of them reruns the job."""
    return dependencies.files(*modules)


def as_json(value):
    """A part of the configuration as a command-line argument."""
    return json.dumps(value, sort_keys=True)


config = checked(config)

EMBEDDINGS = config["embeddings"]
TABLES = config["tables"]
SEEDS = config["evaluation"]["seeds"]


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
