# Speed and memory: one job per architecture, alone on the machine.


rule measure:
    input:
        lambda wildcards: with_helpers("archs", wildcards.arch),
        code("frontend", "measure", "model", "parts"),
    output:
        "data/measured/{arch}.json",
    log:
        "logs/measure/{arch}.log",
    priority: -1
    conda:
        "../envs/seqbench.yaml"
    threads: workflow.cores
    resources:
        machine=MACHINE,
        gpu=GPU,
        mem_mb=4000,
        runtime=120,
    params:
        setting=files.canonical(PLAN.measure.plain()),
        core=lambda wildcards: files.canonical(PLAN.cores[wildcards.arch]),
    message:
        "measure {wildcards.arch}"
    shell:
        "python -m seqbench measure {wildcards.arch} --setting {params.setting:q} --core {params.core:q} > {log} 2>&1"


rule measured:
    input:
        expand("data/measured/{arch}.json", arch=PLAN.architectures),
