# Download and prepare.


rule fetch:
    output:
        "data/raw/{raw}",
    log:
        "logs/fetch/{raw}.log",
    conda:
        "../envs/seqbench.yaml"
    threads: 1
    resources:
        machine=1,
        mem_mb=500,
        runtime=60,
    params:
        name=lambda wildcards: RAW[wildcards.raw],
        sha256=lambda wildcards: SOURCES[RAW[wildcards.raw]].sha256,
    message:
        "download {params.name}"
    shell:
        "python -m seqbench fetch {params.name} > {log} 2>&1"


rule prepare:
    input:
        raw=lambda wildcards: raw_files(DATA[wildcards.task]),
        code=lambda wildcards: [
            *code("prepared", "music"),
            *with_helpers("tasks", DATA[wildcards.task].task),
        ],
    output:
        "data/prepared/{task}/manifest.json",
    log:
        "logs/prepare/{task}.log",
    conda:
        "../envs/seqbench.yaml"
    threads: 1
    resources:
        machine=1,
        mem_mb=2000,
        runtime=30,
    params:
        setting=lambda wildcards: files.canonical(DATA[wildcards.task].settings),
    message:
        "prepare {wildcards.task}"
    shell:
        "python -m seqbench prepare {wildcards.task} --setting {params.setting:q} > {log} 2>&1"


rule prepared:
    input:
        expand("data/prepared/{task}/manifest.json", task=DATA),
