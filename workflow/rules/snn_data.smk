# Requires  data/corpus/documents, and the embedding table TABLES[0].
# Makes     data/corpus/language (documents, tokenizer and tokens of language models, parted by document), data/snn/words
#           (the table's words as sequences), data/snn/sentences (sentences and the sentence model's vectors of them, where
#           the sentence encoder is trained).
#
# They take seconds, and the longest trainings wait for them: so they come first. A job that wants all cores would wait
# itself, until the last of the trainings that run meanwhile has ended.


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
    priority: 100
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
    priority: 100
    threads: HALF_THE_CORES
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
    priority: 100
    threads: HALF_THE_CORES
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
    priority: 100
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
    priority: 100
    threads: HALF_THE_CORES
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
    priority: 100
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
