"""Gates: what an architecture must hold, in every kind of model, before it may be timed or ranked.

Tiny models in float64 on the CPU, away from their first weights, so that nothing that begins at zero hides
a fault; without dropout. A check that raises is a check that failed.

`cases` makes the models and batches, `compare` says what is compared; the gates themselves are in `outputs` and
`weights`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch

from seqbench import archs, device, model
from seqbench.errors import SeqbenchError
from seqbench.gates import cases, outputs, weights
from seqbench.gates.cases import Build, specs
from seqbench.gates.compare import ROUNDING, Finding
from seqbench.measurements import Check, Gate, Gates
from seqbench.records import Spec

__all__ = ["WORK", "check", "gates", "specs"]

WORK: dict[Gate, Callable[[Build, Spec], Iterator[Finding]]] = {
    "state": outputs.state,
    "batch": outputs.batch,
    "seed": weights.seed,
    "causality": outputs.causality,
    "padding": outputs.padding,
    "streaming": outputs.streaming,
    "gradient": weights.gradient,
    "clipping": weights.clipping,
}
"""In this order: a fault of an earlier gate may make later ones fail as well."""
STILL = {"dropout": 0.0, "recurrent_dropout": 0.0, "truncate": 0}
"""Settings of training alone, and what turns them off."""


def _applies(gate: Gate, spec: Spec) -> bool:
    """A model that reads both ways has no steps, and the windows of a stream have no padding."""
    if gate == "streaming":
        return spec.causal or spec.outputs == "sequence"
    return gate != "padding" or spec.outputs != "stream"


def _judge(gate: Gate, spec: Spec, build: Build) -> Check:
    """The first finding that is wrong; where none is, the one nearest to its tolerance."""
    verdict = partial(Check, gate=gate, model=spec.kind)
    findings: list[Finding] = []
    try:
        for one in WORK[gate](build, spec):
            if not one.passed:
                deviation = one.deviation if math.isfinite(one.deviation) else None
                note = f"{one.meaning} (compared: {one.what})"
                return verdict(passed=False, deviation=deviation, tolerance=one.tolerance, note=note)
            findings.append(one)
    except Exception as error:  # whatever a person's own core may raise
        return _unchecked(gate, spec, error)
    worst = max(findings, key=lambda one: one.deviation / one.tolerance if one.tolerance else 0.0)
    others = dict.fromkeys(one.what for one in findings if one.what != worst.what)
    note = f"compared: {'; '.join([worst.what, *others])}"
    return verdict(passed=True, deviation=worst.deviation, tolerance=worst.tolerance, note=note)


def _unchecked(gate: Gate, spec: Spec, error: Exception) -> Check:
    """A failed check with the error's words, in one line and without places on this machine."""
    name = type(error).__name__
    words = f"{error.what}; {error.fix}" if isinstance(error, SeqbenchError) else f"{name}: {error}"
    note = f"could not be checked: {' '.join(words.split())}"
    return Check(gate=gate, model=spec.kind, passed=False, deviation=None, tolerance=ROUNDING, note=note)


def _kind(spec: Spec, arch: str, core_settings: Mapping[str, Any]) -> list[Check]:
    """The gates that apply to one kind of model."""
    applying = [gate for gate in WORK if _applies(gate, spec)]
    still = {key: STILL.get(key, value) for key, value in core_settings.items()}
    try:
        width = cases.narrowest(spec, arch, still)
    except SeqbenchError as error:
        return [_unchecked(gate, spec, error) for gate in applying]
    build = partial(cases.without_dropout, spec, arch, still, width)
    return [_judge(gate, spec, build) for gate in applying]


def check(arch: str, core_settings: Mapping[str, Any], say: Callable[[str], object] | None = None) -> tuple[Check, ...]:
    """Every gate of every kind of model, on the CPU. What raises counts as failed; `say` is told of each kind."""
    checks: list[Check] = []
    for spec in specs():
        found = _kind(spec, arch, core_settings)
        checks += found
        if say is not None:
            failed = [one.gate for one in found if not one.passed]
            say(f"{spec.kind}: " + (f"failed: {', '.join(failed)}" if failed else f"{len(found)} gates passed"))
    return tuple(checks)


def gates(arch: str, core_settings: Mapping[str, Any], say: Callable[[str], object] | None = None) -> Gates:
    """The record of `check`. Raises InputError for an architecture that is not there."""
    version, cpu = archs.version(arch), torch.device("cpu")
    witness = device.Witness(cpu, model.kernel(cpu))
    checks = check(arch, core_settings, say)
    provenance = witness.provenance()
    return Gates(arch=arch, core=dict(core_settings), version=version, checks=checks, provenance=provenance)
