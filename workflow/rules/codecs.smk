# Requires  data/embeddings/<table>.parquet.
# Makes     results/codecs/<table>/<module>: the fitted codecs of one file of pipeline/codecs, for every seed, and the
#           table encoded by each. One job fits a whole module: starting Python often costs more than fitting.

from pipeline.codecs.nested_plan import plan_of
from pipeline.spikes import calibration

REPRESENTATIONS = {
    file: names for file, names in config["representations"].items() if names
}


PEERS = {file: names for file, names in config["peers"].items() if names}


def codecs_code(modules):
    """The files that all these codec modules import: the input of a job that reads codecs of all."""
    return code(
        *(one for module in modules for one in codec_modules(module, names_of(module)))
    )


def names_of(module):
    """All that is made of a codec module, of the default table and of the peers'."""
    return [*REPRESENTATIONS.get(module, []), *PEERS.get(module, [])]


# What config/config.yaml says of a module besides its representations; and modules that several processes run by name.
CODEC_TRAINING = {"matryoshka": ["pipeline.training.launch", "pipeline.training.run"]}
CODEC_OPTIONS = {
    "matryoshka": {
        **config["training"]["matryoshka"],
        "processes": config["training"]["processes"],
        "device": config["device"],
    },
    "spikingjam": config["training"]["spikingjam"],
}

for module in filter(is_spikes, {*REPRESENTATIONS, *PEERS}):
    if codec.together(module):
        CODEC_OPTIONS[module] = config["spikes"]

try:
    plan_of(CODEC_OPTIONS["matryoshka"])
    calibration.choice(config["spikes"])
except UserError as error:
    sys.exit(f"error: config: {error}")


def codec_options(wildcards):
    """--options of a module that has some, as arguments."""
    given = CODEC_OPTIONS.get(wildcards.module)
    if given is None:
        return []
    if wildcards.module in CODEC_TRAINING:
        folder = f"results/training/{wildcards.table}/.{wildcards.module}.unfinished"
        given = {**given, "folder": folder}
    return ["--options", as_json(given)]


def long_first(wildcards):
    """A job's priority: modules with many representations start first, so that none of them is left alone at the end."""
    return len(REPRESENTATIONS.get(wildcards.module, []))


rule fit:
    input:
        code=lambda wildcards: code(
            "pipeline.codecs.fit",
            *codec_modules(wildcards.module, names_of(wildcards.module)),
            *CODEC_TRAINING.get(wildcards.module, []),
        ),
        embedding="data/embeddings/{table}.parquet",
    output:
        directory("results/codecs/{table}/{module}"),
    log:
        "logs/fit/{table}/{module}.log",
    benchmark:
        "results/timing/fit/{table}/{module}.tsv"
    priority: long_first
    threads: lambda wildcards: CODEC_OPTIONS.get(wildcards.module, {}).get("processes", 1)
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
    params:
        representations=lambda wildcards: REPRESENTATIONS[wildcards.module],
        seeds=SEEDS,
        options=codec_options,
    message:
        "Fit {wildcards.module} on {wildcards.table}"
    shell:
        "python -m pipeline.codecs.fit --embedding {input.embedding:q} --module {wildcards.module}"
        " --representations {params.representations:q} --seeds {params.seeds} {params.options:q}"
        " --output {output:q} 2>&1 | tee {log:q}"


# The peers' dearer settings, behind `make peers`: the same work on another list.
use rule fit as fit_peers with:
    output:
        directory("results/peers/codecs/{table}/{module}"),
    log:
        "logs/fit_peers/{table}/{module}.log",
    benchmark:
        "results/timing/fit_peers/{table}/{module}.tsv"
    params:
        representations=lambda wildcards: PEERS[wildcards.module],
        seeds=SEEDS,
        options=codec_options,
