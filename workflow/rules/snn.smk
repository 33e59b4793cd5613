# Requires  what snn_data.smk makes, and the embedding table TABLES[0].
# Makes     results/snn/models/<task>/<variant>-<seed>.safetensors and .parquet (weights and log of each training).
#           Before the rules: what is trained, measured and drawn, for snn_measure.smk and snn_figures.smk too.
#
# Settings of a task's trials are tried each, of all variants alike, and the best by held-out data is the model
# (results/snn/models/<task>/trials, and <variant>-<seed>.trials.csv beside the model).
#
# SpikingJam is a codec: it is fitted and measured as any other, and has rows here besides. The other networks need a corpus;
# a run on ready vectors alone leaves them out. Checkpoints lie in results/snn/models/<task>/.<variant>-<seed>.unfinished.

SNN = config["snn"]
SNN_TABLE = TABLES[0]
SNN_NETWORKS = SNN["networks"] if NEEDS_CORPUS else []
LANGUAGE = "data/corpus/language"
SNN_WORDS = f"data/snn/words/{SNN_TABLE}"
SNN_EMBEDDING = f"data/embeddings/{SNN_TABLE}.parquet"
SENTENCES = "data/snn/sentences"

# What is trained for each network, by task: the module of each variant. Where it is one for all, its option `variant` says
# which is meant.
SNN_TASKS = {
    "spikformer": {
        "spikformer": {
            "spiking": "pipeline.snn.spikformer",
            "dense": "pipeline.snn.transformer",
        },
    },
    "popspike": {
        "next_word": "pipeline.snn.next_word",
        "store_recall": "pipeline.snn.store_recall",
    },
    "sentence_encoder": {
        "sentence_encoder": "pipeline.snn.sentence_encoder",
    },
}
SNN_INPUTS = {
    "spikformer": [f"{LANGUAGE}/tokens/train", f"{LANGUAGE}/tokens/validation"],
    "next_word": [
        SNN_EMBEDDING,
        f"{SNN_WORDS}/train.parquet",
        f"{SNN_WORDS}/validation.parquet",
    ],
    "store_recall": [SNN_EMBEDDING],
    "sentence_encoder": [
        f"{SENTENCES}/{name}.parquet" for name in ("train", "validation", "tokens")
    ],
}
SNN_MODULES = {task: one for of in SNN_TASKS.values() for task, one in of.items()}
# Settings laid over the task's own, a trial each; without them the one training is the model.
SNN_TRIALS = {task: SNN[task].get("trials") or [{}] for task in SNN_MODULES}


def snn_models(network, variants=None):
    """The weights of all trainings of a network, or of some variants alone."""
    return [
        f"results/snn/models/{task}/{variant}-{seed}.safetensors"
        for task in SNN_TASKS[network]
        for variant in variants or SNN[task]["variants"]
        for seed in SNN[task]["seeds"]
    ]


def snn_tasks(tried):
    """Constraint of a wildcard: the tasks with trials to choose from, or those without."""
    return (
        "|".join(t for t, of in SNN_TRIALS.items() if (len(of) > 1) == tried) or "none"
    )


def snn_settings(wildcards):
    """--settings of a training."""
    trial = SNN_TRIALS[wildcards.task][int(wildcards.get("trial", 0))]
    return {**SNN[wildcards.task]["settings"], **trial, "seed": int(wildcards.seed)}


def snn_module(wildcards):
    found = SNN_MODULES[wildcards.task]
    return found if isinstance(found, str) else found[wildcards.variant]


def snn_options(wildcards):
    """--options of a training; the variant among them, where one module has them all."""
    one_module = isinstance(SNN_MODULES[wildcards.task], str)
    variant = {"variant": wildcards.variant} if one_module else {}
    return as_json({**SNN[wildcards.task]["options"], **variant})


SNN_MODELS = [path for network in SNN_NETWORKS for path in snn_models(network)]
SPIKINGJAM = (
    expand("results/snn/spikingjam/{table}.parquet", table=TABLES)
    if "spikingjam" in REPRESENTATIONS
    else []
)
SNN_MEASUREMENTS = [
    *expand("results/snn/{network}.parquet", network=SNN_NETWORKS),
    *SPIKINGJAM,
]
# The model whose activity is drawn: the first seed of a task's spiking network.
SNN_DRAWN = {
    network: f"results/snn/models/{task}/spiking-{SNN[task]['seeds'][0]}.safetensors"
    for network, task in {
        "spikformer": "spikformer",
        "popspike": "store_recall",
    }.items()
    if network in SNN_NETWORKS and "spiking" in SNN[task]["variants"]
}
SNN_ACTIVITY = {
    "spikformer": ["raster", "membrane", "attention"],
    "popspike": ["raster", "membrane"],
}
SNN_FIGURES = [
    *(["snn_training"] if SNN_MODELS else []),
    *(["snn_energy"] if SNN_NETWORKS else []),
    *(["snn_memory"] if "popspike" in SNN_NETWORKS else []),
    *(["snn_spikingjam", "snn_spikingjam_energy"] if SPIKINGJAM else []),
    *[
        f"snn_{network}_{what}"
        for network in SNN_DRAWN
        for what in SNN_ACTIVITY[network]
    ],
]
SNN_RESULTS = (
    [
        "results/snn.csv",
        *expand("results/figures/{figure}.png", figure=SNN_FIGURES),
    ]
    if SNN_MEASUREMENTS
    else []
)

for task in SNN_MODULES:
    for trial in SNN_TRIALS[task]:
        try:
            training_settings.from_json({**SNN[task]["settings"], **trial})
        except UserError as error:
            sys.exit(f"error: config: snn.{task}.{error}")


rule snn:
    input:
        SNN_RESULTS,


rule snn_train:
    input:
        code=code("pipeline.training.launch", "pipeline.training.run"),
        model=lambda wildcards: code(snn_module(wildcards)),
        data=lambda wildcards: SNN_INPUTS[wildcards.task],
    output:
        weights="results/snn/models/{task}/{variant}-{seed}.safetensors",
        log="results/snn/models/{task}/{variant}-{seed}.parquet",
    log:
        "logs/snn_train/{task}/{variant}-{seed}.log",
    benchmark:
        "results/timing/snn_train/{task}/{variant}-{seed}.tsv"
    wildcard_constraints:
        task=snn_tasks(tried=False),
        variant="[a-z_]+",
        seed=r"\d+",
    priority: 50  # the longest jobs of all
    threads: TRAINING_PROCESSES
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * TRAINING_PROCESSES * attempt,
    params:
        module=snn_module,
        options=snn_options,
        settings=lambda wildcards: as_json(snn_settings(wildcards)),
        stem=lambda wildcards, output: output.weights.removesuffix(".safetensors"),
        folder=lambda wildcards: f"results/snn/models/{wildcards.task}/.{wildcards.variant}-{wildcards.seed}.unfinished",
        device=config["device"],
        processes=TRAINING_PROCESSES,
    message:
        "Train {wildcards.task}, {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "OMP_NUM_THREADS=1 python -m pipeline.training.launch --processes {params.processes} pipeline.training.run"
        " --module {params.module} --inputs {input.data:q} --options {params.options:q} --settings {params.settings:q}"
        " --folder {params.folder:q} --output {params.stem:q} --device {params.device} 2>&1 | tee {log}"


use rule snn_train as snn_trial with:
    output:
        weights="results/snn/models/{task}/trials/{variant}-{seed}-{trial}.safetensors",
        log="results/snn/models/{task}/trials/{variant}-{seed}-{trial}.parquet",
    log:
        "logs/snn_trial/{task}/{variant}-{seed}-{trial}.log",
    benchmark:
        "results/timing/snn_trial/{task}/{variant}-{seed}-{trial}.tsv"
    wildcard_constraints:
        task=snn_tasks(tried=True),
        variant="[a-z_]+",
        seed=r"\d+",
        trial=r"\d+",
    params:
        module=snn_module,
        options=snn_options,
        settings=lambda wildcards: as_json(snn_settings(wildcards)),
        stem=lambda wildcards, output: output.weights.removesuffix(".safetensors"),
        folder=lambda wildcards: "results/snn/models/{task}/trials/.{variant}-{seed}-{trial}.unfinished".format(
            **wildcards
        ),
        device=config["device"],
        processes=TRAINING_PROCESSES,
    message:
        "Train {wildcards.task}, {wildcards.variant}, seed {wildcards.seed}, trial {wildcards.trial}"


rule snn_best_trial:
    input:
        code=code("pipeline.training.best_trial"),
        trials=lambda wildcards: [
            f"results/snn/models/{wildcards.task}/trials/{wildcards.variant}-{wildcards.seed}-{trial}.safetensors"
            for trial in range(len(SNN_TRIALS[wildcards.task]))
        ],
        logs=lambda wildcards: [
            f"results/snn/models/{wildcards.task}/trials/{wildcards.variant}-{wildcards.seed}-{trial}.parquet"
            for trial in range(len(SNN_TRIALS[wildcards.task]))
        ],
    output:
        weights="results/snn/models/{task}/{variant}-{seed}.safetensors",
        log="results/snn/models/{task}/{variant}-{seed}.parquet",
        trials="results/snn/models/{task}/{variant}-{seed}.trials.csv",
    log:
        "logs/snn_best_trial/{task}/{variant}-{seed}.log",
    benchmark:
        "results/timing/snn_best_trial/{task}/{variant}-{seed}.tsv"
    wildcard_constraints:
        task=snn_tasks(tried=True),
        variant="[a-z_]+",
        seed=r"\d+",
    threads: 1
    resources:
        mem_mb=1000,
    params:
        stem=lambda wildcards, output: output.weights.removesuffix(".safetensors"),
    message:
        "The best trial of {wildcards.task}, {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "python -m pipeline.training.best_trial --trials {input.trials:q} --output {params.stem:q} 2>&1 | tee {log}"
