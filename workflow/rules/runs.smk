# Controls, tuning, training. One job trains all seeds of a cell; finished seeds are kept under their keys.


LOOP = code(
    *("batches", "decode", "evaluate", "frontend", "model", "parts"),
    *("schedule", "seq2seq", "train", "vision"),
)


rule control:
    input:
        "data/prepared/{task}/manifest.json",
        lambda wildcards: with_helpers("tasks", DATA[wildcards.task].task),
    output:
        "data/runs/{task}/controls.json",
    log:
        "logs/control/{task}.log",
    conda:
        "../envs/seqbench.yaml"
    threads: 1
    resources:
        machine=1,
        mem_mb=2000,
        runtime=30,
    message:
        "controls of {wildcards.task}"
    shell:
        "python -m seqbench control {wildcards.task} > {log} 2>&1"


rule tune:
    input:
        "data/prepared/{task}/manifest.json",
        architecture,
        LOOP,
        code("tune"),
    output:
        "data/tuned/{task}/{arch}.json",
    log:
        "logs/tune/{task}/{arch}.log",
    conda:
        "../envs/seqbench.yaml"
    threads: 1
    resources:
        machine=1,
        gpu=GPU,
        mem_mb=2000,
        runtime=600,
    params:
        setting=setting,
    message:
        "tune {wildcards.task} {wildcards.arch}"
    shell:
        "python -m seqbench tune {wildcards.task} {wildcards.arch} --setting {params.setting:q} > {log} 2>&1"


rule train:
    input:
        "data/prepared/{task}/manifest.json",
        "data/tuned/{task}/{arch}.json",
        architecture,
        LOOP,
    output:
        "data/runs/{task}/{arch}/results.json",
        "data/runs/{task}/{arch}/provenance.json",
    log:
        "logs/train/{task}/{arch}.log",
    conda:
        "../envs/seqbench.yaml"
    threads: 1
    resources:
        machine=1,
        gpu=GPU,
        mem_mb=2000,
        runtime=1440,
    params:
        setting=setting,
        seeds=seeds,
    message:
        "train {wildcards.task} {wildcards.arch}"
    shell:
        "python -m seqbench train {wildcards.task} {wildcards.arch} {params.seeds}"
        " --setting {params.setting:q} > {log} 2>&1"


rule trained:
    input:
        expand("data/runs/{task}/controls.json", task=DATA),
        of_cells("data/runs/{task}/{arch}/results.json"),
