# Requires  data/embeddings/<table>.parquet.
# Makes     results/training/<table>/autoencoder_<k>.safetensors (the best weights of a dense autoencoder d -> k -> d) and
#           .parquet beside it (the log: losses, learning rate, held-out error by step), and the figure of all logs,
#           those of the embeddings of source `skipgram` among them (they are made with their tables).
#
# A model is trained in `training.processes` processes. Checkpoints lie in results/training/<table>/.<name>.unfinished, no
# rule's output, so that Snakemake does not delete them: a job that was killed goes on from there. Settings that have been
# changed meanwhile are refused by name; remove that folder then.

from pipeline.training import settings as training_settings

TRAINING_PROCESSES = config["training"]["processes"]
AUTOENCODER = config["training"]["autoencoder"]
AUTOENCODERS = expand(
    "results/training/{table}/autoencoder_{code}.safetensors",
    table=TABLES,
    code=AUTOENCODER["codes"],
)

# Runs that have a curve: the embedding's table stands for the log that is written beside it.
SKIPGRAMS = [
    name
    for name, given in EMBEDDINGS.items()
    if given["source"] == "skipgram"
    and any(name in configuration.parts(table) for table in TABLES)
]
TRAINING_LOGS = [
    *(path.replace(".safetensors", ".parquet") for path in AUTOENCODERS),
    *(
        EMBEDDINGS[name]
        .get("options", {})
        .get("log", f"results/training/{name}/skipgram.parquet")
        for name in SKIPGRAMS
    ),
]
TRAINING_FIGURES = ["results/figures/training_curves.png"] if TRAINING_LOGS else []

try:
    training_settings.from_json(AUTOENCODER["settings"])
except UserError as error:
    sys.exit(f"error: config: training.autoencoder.{error}")


rule autoencoder:
    input:
        code=code("pipeline.training.launch", "pipeline.training.run"),
        model=code("pipeline.training.autoencoder"),
        embedding="data/embeddings/{table}.parquet",
    output:
        weights="results/training/{table}/autoencoder_{code}.safetensors",
        log="results/training/{table}/autoencoder_{code}.parquet",
    log:
        "logs/autoencoder/{table}/{code}.log",
    benchmark:
        "results/timing/autoencoder/{table}/{code}.tsv"
    wildcard_constraints:
        code=r"\d+",
    threads: TRAINING_PROCESSES
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * TRAINING_PROCESSES * attempt,
    params:
        options=lambda wildcards: as_json(
            {"code": int(wildcards.code), **AUTOENCODER["options"]}
        ),
        settings=lambda wildcards: as_json(AUTOENCODER["settings"]),
        stem=lambda wildcards, output: output.weights.removesuffix(".safetensors"),
        folder="results/training/{table}/.autoencoder_{code}.unfinished",
        device=config["device"],
        processes=TRAINING_PROCESSES,
    message:
        "Train autoencoder_{wildcards.code} on {wildcards.table} in {params.processes} process(es)"
    shell:
        "OMP_NUM_THREADS=1 python -m pipeline.training.launch --processes {params.processes} pipeline.training.run"
        " --module pipeline.training.autoencoder --inputs {input.embedding:q} --options {params.options:q}"
        " --settings {params.settings:q} --folder {params.folder:q} --output {params.stem:q}"
        " --device {params.device} 2>&1 | tee {log:q}"


rule training_figure:
    input:
        code=code("pipeline.plots.training_curves"),
        models=AUTOENCODERS,
        tables=expand("data/embeddings/{name}.parquet", name=SKIPGRAMS),
    output:
        report(
            "results/figures/training_curves.png",
            caption="../report/training_curves.rst",
            category="Figures",
            labels={"figure": "training curves"},
        ),
    log:
        "logs/training_figure.log",
    benchmark:
        "results/timing/training_figure.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        logs=TRAINING_LOGS,
        target=lambda wildcards, output: output[0].removesuffix(".png"),
    message:
        "Figure: {output}"
    shell:
        "python -m pipeline.plots.training_curves --logs {params.logs:q} --output {params.target} 2>&1 | tee {log}"
