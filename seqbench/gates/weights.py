"""Gates of weights: the seed decides them, gradients reach them and are right, and clipping holds what it says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from seqbench import parts
from seqbench.gates import cases, compare
from seqbench.gates.cases import SEED, STEPS, Build, Case
from seqbench.gates.compare import Finding
from seqbench.model import Net
from seqbench.records import Spec

OTHER_SEED = 2
EPSILON = 1e-6
"""Of central differences, along a direction of length 1: so small that hardly a ReLU turns on the way."""
DIFFERENCES, SINGLE, CLIPPED = 1e-5, 1e-4, 1e-4
"""Tolerances, relative: of central differences; of gradients in float32; of the clipped norm (torch adds 1e-6)."""


@torch.no_grad()
def seed(build: Build, spec: Spec) -> Iterator[Finding]:
    """The seed decides the first weights, and nothing else does."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        first = build(SEED)
        torch.default_generator.manual_seed(OTHER_SEED)
        again, other = build(SEED), build(OTHER_SEED)
    differ = sum(not torch.equal(*pair) for pair in zip(_held(first), _held(again), strict=True))
    meaning = "two models of one seed have other weights: something else than the seed decides them"
    yield Finding("parameters and buffers that differ in two models of one seed", float(differ), 0.0, meaning)
    h = compare.noise(1, STEPS, first.head.linear.in_features).float()
    for name, core in compare.cores(first).items():
        if next(core.parameters(), None) is None:
            continue
        twin = compare.cores(other)[name]
        alike = all(torch.equal(mine, theirs) for mine, theirs in zip(_held(core), _held(twin), strict=True))
        meaning = f"another seed gives the {name} the same weights: seeds are no repetitions"
        yield Finding("cores of two seeds that are alike", float(alike), 0.0, meaning)
        if name == "decoder":  # one with a memory cannot be read alone
            continue
        mine, theirs = (parts.read(one, first.arch, h) for one in (core, twin))
        meaning = f"another seed gives the {name} other weights and the same outputs: the weights do nothing"
        yield Finding("cores of two seeds with equal outputs", float(torch.equal(mine, theirs)), 0.0, meaning)


def _held(module: nn.Module) -> list[Tensor]:
    """Parameters and buffers."""
    return [*module.parameters(), *module.buffers()]


def clipping(build: Build, spec: Spec) -> Iterator[Finding]:
    """The clipped gradient (Pascanu et al. 2013) has the norm asked for, and a plain step the length rate x norm."""
    net = cases.moved(build).double().train()
    loss, parameters = compare.loss(net, cases.case(spec, uneven=True)), list(net.parameters())
    known = set(map(id, parameters))
    strays = sum(id(leaf) not in known for leaf in _leaves(loss))
    meaning = f"{strays} trained tensors are no parameters of the model: clipping and the optimiser pass them by"
    yield Finding("trained tensors that are no parameters", float(strays), 0.0, meaning)
    torch.autograd.backward(loss)
    limit, rate = 0.1 * float(_norm(parameters)), 0.5
    nn.utils.clip_grad_norm_(parameters, limit)
    norm = float(_norm(parameters))
    meaning = f"clipped to {limit:.3g}, the gradient has a norm of {norm:.3g}"
    yield Finding("norm of the clipped gradient and the limit, relative", abs(norm / limit - 1), CLIPPED, meaning)
    before = [weights.detach().clone() for weights in parameters]
    torch.optim.SGD(parameters, lr=rate).step()
    moved = math.hypot(*(float((new.detach() - old).norm()) for new, old in zip(parameters, before, strict=True)))
    meaning = f"a plain step of rate {rate:g} moves the weights by {moved:.3g}, not by rate x limit"
    far = abs(moved / (rate * limit) - 1)
    yield Finding("length of a plain step and rate x limit, relative", far, CLIPPED, meaning)


def _norm(parameters: list[nn.Parameter]) -> Tensor:
    return nn.utils.get_total_norm([weights.grad for weights in parameters if weights.grad is not None])


def _leaves(loss: Tensor) -> list[Tensor]:
    """The tensors that a backward pass leaves a gradient on."""
    stack, seen, leaves = [loss.grad_fn], set(), []
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if type(node).__name__ == "AccumulateGrad":
            leaves.append(cast(Any, node).variable)
        stack += [before for before, _ in node.next_functions]
    return leaves


def gradient(build: Build, spec: Spec) -> Iterator[Finding]:
    """Gradients reach every parameter of the core, are finite, and are those of differences and of float32."""
    net, case = cases.moved(build).double().train(), cases.case(spec, uneven=True)
    # Of all steps: where only the last counts, some weights have nothing to do.
    out = compare.each_step(net, cases.case(spec))
    torch.autograd.backward((out * compare.noise(*out.shape)).sum())
    of_cores = tuple(f"{name}." for name in compare.cores(net))
    still = [name for name, grad in _named(net) if name.startswith(of_cores) and not grad.any()]
    meaning = f"no gradient reaches {', '.join(still)}: training leaves it as it is"
    yield Finding("parameters of the core without a gradient", float(len(still)), 0.0, meaning)
    net.zero_grad()
    loss = compare.loss(net, case)
    torch.autograd.backward(loss)
    wrong = [name for name, number in (("the loss", loss), *_named(net)) if not number.isfinite().all()]
    meaning = f"infinite or no number: {wrong[0] if wrong else ''}{' and more' * (len(wrong) > 1)}"
    yield Finding("losses and gradients that are not finite", float(len(wrong)), 0.0, meaning)
    yield from _differences(net, case)
    single = cases.moved(build).train()
    torch.autograd.backward(compare.loss(single, case))
    exact, rounded = (torch.cat([grad.double().flatten() for _, grad in _named(one)]) for one in (net, single))
    meaning = "the gradient in float32 is another one than in float64: the core loses precision"
    apart = float((rounded - exact).norm() / exact.norm())
    yield Finding("gradients in float32 and float64, relative", apart, SINGLE, meaning)


def _named(net: Net) -> list[tuple[str, Tensor]]:
    """Each trained parameter's gradient; zeros where it has none."""
    trained = [(name, weights) for name, weights in net.named_parameters() if weights.requires_grad]
    return [(name, torch.zeros_like(weights) if weights.grad is None else weights.grad) for name, weights in trained]


def _differences(net: Net, case: Case) -> Iterator[Finding]:
    """The gradient along random directions of the cores' weights, and of all others, is that of central differences."""
    of_cores = {id(weights) for core in compare.cores(net).values() for weights in core.parameters()}
    trained = [weights for weights in net.parameters() if weights.grad is not None]
    inside = [weights for weights in trained if id(weights) in of_cores]
    outside = [weights for weights in trained if id(weights) not in of_cores]
    for name, group, draw in (("core", inside, 1), ("core", inside, 2), ("frontend and head", outside, 1)):
        if group:
            found, slope = _slopes(net, case, group, draw)
            usual = float(_norm(group)) / math.sqrt(sum(weights.numel() for weights in group))
            apart = abs(found - slope) / max(abs(slope), usual, torch.finfo(torch.float64).tiny)
            rises = f"the loss rises by {found:.6g} along the weights of the {name}, by its gradient {slope:.6g}"
            meaning = f"{rises}: the gradient is wrong"
            yield Finding("gradients and central differences, relative", apart, DIFFERENCES, meaning)


@torch.no_grad()
def _slopes(net: Net, case: Case, group: list[nn.Parameter], draw: int) -> tuple[float, float]:
    """How fast the loss rises along a random direction: by central differences, and by the gradient."""
    random = torch.Generator().manual_seed(draw)
    ways = [torch.randn(weights.shape, generator=random, dtype=weights.dtype) for weights in group]
    size = math.sqrt(sum(way.numel() for way in ways))
    losses = []
    before = [weights.clone() for weights in group]
    for sign in (1, -1):
        for weights, start, way in zip(group, before, ways, strict=True):
            weights.copy_(start + sign * EPSILON / size * way)
        losses.append(float(compare.loss(net, case)))
    for weights, start in zip(group, before, strict=True):
        weights.copy_(start)
    slope = sum(float((cast(Tensor, weights.grad) * way).sum()) for weights, way in zip(group, ways, strict=True))
    return (losses[0] - losses[1]) / (2 * EPSILON), slope / size
