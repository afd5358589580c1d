# Gates, exact counts, speed, reach. What a clock measures has the machine to itself.


BENCH = code(
    *("frontend", "measurements", "model", "parts", "seq2seq", "vision"),
    *(
        f"measure/{name}"
        for name in ("bench", "clock", "energy", "forms", "kept", "nvml", "work")
    ),
)


rule gates:
    input:
        lambda wildcards: with_helpers("archs", wildcards.arch),
        code("frontend", "measurements", "model", "parts", "seq2seq", "vision"),
        package("gates"),
    output:
        "data/measured/gates/{arch}.json",
    log:
        "logs/gates/{arch}.log",
    conda:
        "../envs/seqbench.yaml"
    threads: 1
    resources:
        machine=1,
        mem_mb=2000,
        runtime=30,
    params:
        cores=lambda wildcards: cores(wildcards.arch),
    message:
        "check the gates of {wildcards.arch}"
    shell:
        "python -m seqbench gates {wildcards.arch} --cores {params.cores:q} > {log} 2>&1"


rule count:
    input:
        "data/measured/gates/{arch}.json",
        BENCH,
        code("measure/count", "measure/memory", "scaling"),
    output:
        "data/measured/counted/{arch}.json",
    log:
        "logs/count/{arch}.log",
    conda:
        "../envs/seqbench.yaml"
    threads: 1
    resources:
        machine=1,
        gpu=GPU,
        mem_mb=PLAN.measure.memory // 2**20 + 2000,
        runtime=120,
    params:
        measure=files.canonical(PLAN.measure.plain()),
        cores=lambda wildcards: cores(wildcards.arch),
    message:
        "count memory and arithmetic of {wildcards.arch}"
    shell:
        "python -m seqbench count {wildcards.arch} --measure {params.measure:q}"
        " --cores {params.cores:q} > {log} 2>&1"


rule measure:
    input:
        expand("data/measured/gates/{arch}.json", arch=PLAN.architectures),
        architectures_files(),
        BENCH,
        code("measure/peaks", "measure/speed", "measure/visits"),
    output:
        expand("data/measured/{arch}.json", arch=PLAN.architectures),
    log:
        "logs/measure.log",
    priority: -1
    conda:
        "../envs/seqbench.yaml"
    threads: workflow.cores
    resources:
        machine=MACHINE,
        gpu=GPU,
        mem_mb=PLAN.measure.memory // 2**20 + 2000,
        runtime=600,
    params:
        measure=files.canonical(PLAN.measure.plain()),
        cores=cores(*PLAN.architectures),
    message:
        "measure the speed of all architectures"
    shell:
        "python -m seqbench measure --measure {params.measure:q} --cores {params.cores:q} > {log} 2>&1"


rule pace:
    input:
        "data/prepared/{task}/manifest.json",
        expand("data/measured/gates/{arch}.json", arch=PLAN.architectures),
        architectures_files(),
        LOOP,
        code(
            "measurements",
            *(f"measure/{name}" for name in ("clock", "kept", "pace", "work")),
        ),
    output:
        "data/measured/pace/{task}.json",
    log:
        "logs/pace/{task}.log",
    priority: -1
    conda:
        "../envs/seqbench.yaml"
    threads: workflow.cores
    resources:
        machine=MACHINE,
        gpu=GPU,
        mem_mb=PLAN.measure.memory // 2**20 + 2000,
        runtime=60,
    params:
        measure=files.canonical(PLAN.measure.plain()),
        cells=of_task,
    message:
        "measure the pace of {wildcards.task}"
    shell:
        "python -m seqbench pace {wildcards.task} --measure {params.measure:q} --cells {params.cells:q} > {log} 2>&1"


rule reach:
    input:
        lambda wildcards: [
            f"data/runs/{wildcards.task}/{cell.label}/results.json"
            for cell in PLAN.measured_on(wildcards.task)
        ],
        code("apply", "measurements"),
        package("horizon"),
    output:
        "data/measured/reach/{task}.json",
    log:
        "logs/reach/{task}.log",
    conda:
        "../envs/seqbench.yaml"
    threads: 1
    resources:
        machine=1,
        gpu=GPU,
        mem_mb=4000,
        runtime=60,
    params:
        measure=files.canonical(PLAN.measure.plain()),
        cells=of_task,
        seeds=" ".join(f"--seed {seed}" for seed in PLAN.seeds),
    message:
        "find how far these remember: the models of {wildcards.task}"
    shell:
        "python -m seqbench reach {wildcards.task} {params.seeds} --measure {params.measure:q}"
        " --cells {params.cells:q} > {log} 2>&1"


rule measured:
    input:
        expand("data/measured/{arch}.json", arch=PLAN.architectures),
        expand("data/measured/counted/{arch}.json", arch=PLAN.architectures),
        expand("data/measured/pace/{task}.json", task=PLAN.task_ids),
        expand("data/measured/reach/{task}.json", task=PLAN.task_ids),
