# Requires  data/corpus/documents, the embedding table TABLES[0], and of spikingjam results/codecs and results/metrics.
# Makes     data/corpus/language (documents, tokenizer and tokens of language models, parted by document), data/snn/words
#           (the table's words as sequences), data/snn/sentences (sentences and the sentence model's vectors of them, where
#           the sentence encoder is trained), results/snn/models/<task>/<variant>-<seed>.safetensors and .parquet (weights
#           and log of each training), results/snn/<network>.parquet (what each does), results/snn.csv and
#           results/snn.parquet (all of it), results/snn/sentence_vectors.parquet (an embedding table, of the sentence encoder),
#           results/snn/activity (spikes, membranes and attention on one input), figures.
#
#           Outside `rule all`: results/snn_ablation.csv and its figure (`make snn-ablation`).
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
    *(["snn_spikingjam"] if SPIKINGJAM else []),
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


rule language_documents:
    input:
        code=code("pipeline.corpus.language"),
        documents="data/corpus/documents",
    output:
        directory(f"{LANGUAGE}/documents"),
    log:
        "logs/language_documents.log",
    benchmark:
        "results/timing/language_documents.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
    message:
        "Documents to train, validate and test language models"
    shell:
        "python -m pipeline.corpus.language --documents {input.documents} --output {output} 2>&1 | tee {log}"


use rule tokenizer as language_tokenizer with:
    input:
        code("pipeline.corpus.tokenizer"),
        all=f"{LANGUAGE}/documents",
    output:
        f"{LANGUAGE}/tokenizer.json",
    log:
        "logs/language_tokenizer.log",
    benchmark:
        "results/timing/language_tokenizer.tsv"
    params:
        documents=f"{LANGUAGE}/documents/train",
        size=SNN["vocabulary_size"],
        lowercase="--lowercase" if config["tokens"]["lowercase"] else "",


use rule tokens as language_tokens with:
    input:
        code("pipeline.corpus.tokens"),
        all=f"{LANGUAGE}/documents",
        tokenizer=f"{LANGUAGE}/tokenizer.json",
    output:
        directory(f"{LANGUAGE}/tokens/{{part}}"),
    log:
        "logs/language_tokens/{part}.log",
    benchmark:
        "results/timing/language_tokens/{part}.tsv"
    wildcard_constraints:
        part="train|validation|test",
    params:
        documents=f"{LANGUAGE}/documents/{{part}}",


rule snn_words:
    input:
        code=code("pipeline.snn.word_sequences"),
        documents=f"{LANGUAGE}/documents",
        tokenizer=f"{LANGUAGE}/tokenizer.json",
        embedding=SNN_EMBEDDING,
    output:
        expand(f"{SNN_WORDS}/{{part}}.parquet", part=["train", "validation", "test"]),
    log:
        "logs/snn_words.log",
    benchmark:
        "results/timing/snn_words.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
    params:
        folder=SNN_WORDS,
    message:
        "Words of {SNN_TABLE} as sequences"
    shell:
        "python -m pipeline.snn.word_sequences --documents {input.documents} --embedding {input.embedding:q}"
        " --tokenizer {input.tokenizer} --output {params.folder:q} 2>&1 | tee {log}"


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


rule spikformer_measure:
    input:
        code=code("pipeline.snn.language_measure"),
        tokens=expand(
            f"{LANGUAGE}/tokens/{{part}}", part=["train", "validation", "test"]
        ),
        spiking=snn_models("spikformer", ["spiking"]),
        dense=snn_models("spikformer", ["dense"]),
    output:
        "results/snn/spikformer.parquet",
    log:
        "logs/snn/spikformer.log",
    benchmark:
        "results/timing/snn/spikformer.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
    params:
        limit=SNN["limit"],
    message:
        "Measure the language models"
    shell:
        "OMP_NUM_THREADS={threads} python -m pipeline.snn.language_measure --tokens {LANGUAGE}/tokens"
        " --spiking {input.spiking:q} --dense {input.dense:q} --limit {params.limit}"
        " --output {output} 2>&1 | tee {log}"


use rule tokenizer as sentence_tokenizer with:
    input:
        code("pipeline.corpus.tokenizer"),
        all=f"{LANGUAGE}/documents",
    output:
        "data/snn/sentence_tokenizer.json",
    log:
        "logs/sentence_tokenizer.log",
    benchmark:
        "results/timing/sentence_tokenizer.tsv"
    params:
        documents=f"{LANGUAGE}/documents/train",
        size=SNN["sentences"]["vocabulary_size"],
        lowercase="--lowercase" if config["tokens"]["lowercase"] else "",


rule sentences:
    input:
        code=code("pipeline.snn.sentences"),
        documents=f"{LANGUAGE}/documents",
        tokenizer="data/snn/sentence_tokenizer.json",
    output:
        expand(
            f"{SENTENCES}/{{name}}.parquet",
            name=["train", "validation", "test", "tokens"],
        ),
    log:
        "logs/sentences.log",
    benchmark:
        "results/timing/sentences.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2500 * attempt,
    params:
        folder=SENTENCES,
        counts=" ".join(
            f"--{name} {SNN['sentences'][name]}"
            for name in ("train", "validation", "test", "longest")
        ),
        device=config["device"],
    message:
        "Sentences and the sentence model's vectors of them"
    shell:
        "OMP_NUM_THREADS={threads} python -m pipeline.snn.sentences --documents {input.documents}"
        " --tokenizer {input.tokenizer} {params.counts} --device {params.device} --output {params.folder} 2>&1 | tee {log}"


rule sentence_encoder_measure:
    input:
        code=code(
            "pipeline.evaluation.sentence_encoder",
            "pipeline.spikes.spike_codes",
            "pipeline.codecs.binary",
        ),
        sentences=rules.sentences.output,
        models=snn_models("sentence_encoder"),
    output:
        measurements="results/snn/sentence_encoder.parquet",
        vectors="results/snn/sentence_vectors.parquet",
    log:
        "logs/snn/sentence_encoder.log",
    benchmark:
        "results/timing/snn/sentence_encoder.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2500 * attempt,
    params:
        folder=SENTENCES,
    message:
        "Measure the sentence encoders"
    shell:
        "OMP_NUM_THREADS={threads} python -m pipeline.evaluation.sentence_encoder --sentences {params.folder}"
        " --models {input.models:q} --vectors {output.vectors} --output {output.measurements} 2>&1 | tee {log}"


rule position_ablation:
    input:
        code=code("pipeline.snn.position_ablation"),
        tokens=expand(f"{LANGUAGE}/tokens/{{part}}", part=["train", "validation"]),
    output:
        "results/snn/position_ablation/{seed}.parquet",
    log:
        "logs/snn/position_ablation/{seed}.log",
    benchmark:
        "results/timing/snn/position_ablation/{seed}.tsv"
    wildcard_constraints:
        seed=r"\d+",
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
    params:
        options=as_json(SNN["ablation"]["options"]),
        folder="results/snn/position_ablation/.{seed}.unfinished",
        device=config["device"],
    message:
        "Attention with and without phases, and other positions, seed {wildcards.seed}"
    shell:
        "OMP_NUM_THREADS={threads} python -m pipeline.snn.position_ablation --tokens {input.tokens:q}"
        " --options {params.options:q} --seed {wildcards.seed} --folder {params.folder} --device {params.device}"
        " --output {output} 2>&1 | tee {log}"


rule popspike_measure:
    input:
        code=code("pipeline.snn.popspike_measure"),
        embedding=SNN_EMBEDDING,
        words=expand(
            f"{SNN_WORDS}/{{part}}.parquet", part=["train", "validation", "test"]
        ),
        models=snn_models("popspike"),
    output:
        "results/snn/popspike.parquet",
    log:
        "logs/snn/popspike.log",
    benchmark:
        "results/timing/snn/popspike.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
    params:
        words=SNN_WORDS,
        queries=SNN["queries"],
        device=config["device"],
    message:
        "PopSpike: next words and memory, measured"
    shell:
        "OMP_NUM_THREADS={threads} python -m pipeline.snn.popspike_measure --embedding {input.embedding:q}"
        " --words {params.words:q} --models {input.models:q} --queries {params.queries} --device {params.device}"
        " --output {output} 2>&1 | tee {log}"


rule spikingjam_measure:
    input:
        code=code("pipeline.evaluation.spikingjam", codec.dotted("spikingjam")),
        embedding="data/embeddings/{table}.parquet",
        codecs="results/codecs/{table}/spikingjam",
        metrics="results/metrics/{table}/spikingjam.parquet",
    output:
        "results/snn/spikingjam/{table}.parquet",
    log:
        "logs/snn/spikingjam/{table}.log",
    benchmark:
        "results/timing/snn/spikingjam/{table}.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
    params:
        seeds=SEEDS,
        queries=config["evaluation"]["queries"],
    message:
        "SpikingJam of {wildcards.table}, beside its controls"
    shell:
        "OMP_NUM_THREADS={threads} python -m pipeline.evaluation.spikingjam --embedding {input.embedding:q}"
        " --codecs {input.codecs:q} --metrics {input.metrics:q} --seeds {params.seeds} --queries {params.queries}"
        " --output {output:q} 2>&1 | tee {log:q}"


rule snn_table:
    input:
        code=code("pipeline.evaluation.snn_table"),
        measurements=SNN_MEASUREMENTS,
    output:
        csv=report(
            "results/snn.csv",
            caption="../report/snn.rst",
            category="Table",
            labels={"table": "spiking networks"},
        ),
        parquet="results/snn.parquet",
    log:
        "logs/snn_table.log",
    benchmark:
        "results/timing/snn_table.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        stem=lambda wildcards, output: output.csv.removesuffix(".csv"),
    message:
        "Spiking networks: {output.csv}"
    shell:
        "python -m pipeline.evaluation.snn_table --measurements {input.measurements:q} --output {params.stem}"
        " 2>&1 | tee {log}"


use rule snn_table as position_ablation_table with:
    input:
        code=code("pipeline.evaluation.snn_table"),
        measurements=expand(
            "results/snn/position_ablation/{seed}.parquet",
            seed=SNN["ablation"]["seeds"],
        ),
    output:
        csv="results/snn_ablation.csv",
        parquet="results/snn_ablation.parquet",
    log:
        "logs/position_ablation_table.log",
    benchmark:
        "results/timing/position_ablation_table.tsv"


use rule training_figure as snn_training_figure with:
    input:
        code=code("pipeline.plots.training_curves"),
        models=SNN_MODELS,
    output:
        report(
            "results/figures/snn_training.png",
            caption="../report/training_curves.rst",
            category="Figures",
            labels={"figure": "training of spiking networks"},
        ),
    log:
        "logs/snn_training_figure.log",
    benchmark:
        "results/timing/snn_training_figure.tsv"
    params:
        logs=[path.replace(".safetensors", ".parquet") for path in SNN_MODELS],
        target=lambda wildcards, output: output[0].removesuffix(".png"),


rule snn_figure:
    input:
        code=lambda wildcards: code(f"pipeline.plots.snn_{wildcards.what}"),
        measurements="results/snn.parquet",
    output:
        report(
            "results/figures/snn_{what}.png",
            caption="../report/snn_figure.rst",
            category="Figures",
            labels={"figure": "{what} of spiking networks"},
        ),
    log:
        "logs/snn_figure/{what}.log",
    benchmark:
        "results/timing/snn_figure/{what}.tsv"
    wildcard_constraints:
        what="energy|memory|spikingjam",
    threads: 1
    resources:
        mem_mb=1000,
    params:
        target=lambda wildcards, output: output[0].removesuffix(".png"),
    message:
        "Figure: {output}"
    shell:
        "python -m pipeline.plots.snn_{wildcards.what} --measurements {input.measurements} --output {params.target}"
        " 2>&1 | tee {log}"


rule spikformer_activity:
    input:
        code=code("pipeline.snn.spikformer_activity"),
        model=SNN_DRAWN.get("spikformer", []),
        tokens=f"{LANGUAGE}/tokens/test",
        tokenizer=f"{LANGUAGE}/tokenizer.json",
    output:
        "results/snn/activity/spikformer.safetensors",
    log:
        "logs/snn/spikformer_activity.log",
    benchmark:
        "results/timing/snn/spikformer_activity.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
    message:
        "Spikes, membranes and attention of the spiking language model"
    shell:
        "OMP_NUM_THREADS={threads} python -m pipeline.snn.spikformer_activity --model {input.model} --tokens {input.tokens}"
        " --tokenizer {input.tokenizer} --output {output} 2>&1 | tee {log}"


rule popspike_activity:
    input:
        code=code("pipeline.snn.popspike_activity"),
        model=SNN_DRAWN.get("popspike", []),
        embedding=SNN_EMBEDDING,
    output:
        "results/snn/activity/popspike.safetensors",
    log:
        "logs/snn/popspike_activity.log",
    benchmark:
        "results/timing/snn/popspike_activity.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
    message:
        "Spikes and membranes of PopSpike"
    shell:
        "OMP_NUM_THREADS={threads} python -m pipeline.snn.popspike_activity --model {input.model}"
        " --embedding {input.embedding:q} --output {output} 2>&1 | tee {log}"


rule spikformer_activity_figures:
    input:
        code=code("pipeline.plots.snn_activity"),
        recording="results/snn/activity/spikformer.safetensors",
    output:
        [
            report(
                f"results/figures/snn_spikformer_{what}.png",
                caption=f"../report/snn_{what}.rst",
                category="Figures",
                labels={"figure": f"{what} of spikformer"},
            )
            for what in SNN_ACTIVITY["spikformer"]
        ],
    log:
        "logs/snn_figure/spikformer.log",
    benchmark:
        "results/timing/snn_figure/spikformer.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        target=lambda wildcards, output: output[0].removesuffix("_raster.png"),
    message:
        "Figures: {output}"
    shell:
        "python -m pipeline.plots.snn_activity --recording {input.recording} --output {params.target} 2>&1 | tee {log}"


use rule spikformer_activity_figures as popspike_activity_figures with:
    input:
        code=code("pipeline.plots.snn_activity"),
        recording="results/snn/activity/popspike.safetensors",
    output:
        [
            report(
                f"results/figures/snn_popspike_{what}.png",
                caption=f"../report/snn_{what}.rst",
                category="Figures",
                labels={"figure": f"{what} of popspike"},
            )
            for what in SNN_ACTIVITY["popspike"]
        ],
    log:
        "logs/snn_figure/popspike.log",
    benchmark:
        "results/timing/snn_figure/popspike.tsv"


rule position_ablation_figure:
    input:
        code=code("pipeline.plots.snn_positions"),
        table="results/snn_ablation.csv",
    output:
        report(
            "results/figures/snn_ablation.png",
            caption="../report/snn_positions.rst",
            category="Figures",
            labels={"figure": "ablation of positions"},
        ),
    log:
        "logs/snn_figure/ablation.log",
    benchmark:
        "results/timing/snn_figure/ablation.tsv"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        target=lambda wildcards, output: output[0].removesuffix(".png"),
    message:
        "Figure: {output}"
    shell:
        "python -m pipeline.plots.snn_positions --table {input.table} --output {params.target} 2>&1 | tee {log}"
