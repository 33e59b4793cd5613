# Requires  data/embeddings/<table>.parquet.
# Makes     results/training/<table>/autoencoder_<k>.safetensors (the best weights of a dense autoencoder d -> k -> d) and
#           .parquet beside it (the log: losses, learning rate, held-out error by step).
#           Outside `rule all` until the config asks for it: `training.autoencoder.codes`.
#
# A model is trained in `training.processes` processes. Checkpoints lie in results/training/<table>/.<name>.unfinished, no
# rule's output, so that Snakemake does not delete them: a job that was killed goes on from there. Settings that have been
# changed meanwhile are refused by name; remove that folder then.

TRAINING = config.get("training", {})
TRAINING_PROCESSES = TRAINING.get("processes", 1)
AUTOENCODER = TRAINING.get("autoencoder", {})
AUTOENCODERS = expand(
    "results/training/{table}/autoencoder_{code}.safetensors",
    table=TABLES,
    code=AUTOENCODER.get("codes", []),
)


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
            {"code": int(wildcards.code), **AUTOENCODER.get("options", {})}
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
