"""Gates of outputs: what they may depend on, and that every way to read a sequence gives the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from seqbench import parts
from seqbench.gates import cases, compare
from seqbench.gates.cases import STEPS, Build, Case
from seqbench.gates.compare import ROUNDING, Finding
from seqbench.model import Net
from seqbench.records import BEGIN, Spec
from seqbench.seq2seq import Seq2Seq


def causality(build: Build, spec: Spec) -> Iterator[Finding]:
    """Of causal cores no output has a gradient by, or changes with, later inputs; others see later inputs."""
    net, case = cases.moved(build).double().eval(), cases.case(spec)
    item = case.one(0)
    with torch.no_grad():
        h = net.frontend(item.x)
    if isinstance(net, Seq2Seq):
        memory = net.encode(item.x, item.lengths).outputs.detach()
        seen = {"memory": memory, "memory_lengths": item.lengths} if net.own else {}
        yield _looks_ahead(partial(parts.read, net.encoder, net.arch), h, "encoder")
        yield _foreseen(partial(parts.read, net.decoder, net.arch, **seen), h[:, : item.y.shape[1]], "decoder")
    elif spec.causal:
        yield _foreseen(partial(parts.read, net.core, net.arch), h, "core")
    else:
        yield _looks_ahead(partial(parts.read, net.core, net.arch), h, "core")
        return
    name = "y" if isinstance(net, Seq2Seq) else "x"  # the decoder reads y one step late
    inputs, late = getattr(case, name), int(isinstance(net, Seq2Seq))
    with torch.no_grad():
        outputs, garbage = compare.each_step(net, case), cases.garbage(spec, inputs)
        for cut in range(1, inputs.shape[1], max(1, inputs.shape[1] // STEPS)):
            changed = case._replace(**{name: torch.cat((inputs[:, :cut], garbage[:, cut:]), dim=1)})
            apart = compare.apart(compare.each_step(net, changed)[:, : cut + late], outputs[:, : cut + late])
            meaning = f"one of the outputs 1 to {cut + late} changes with later inputs: the core sees the future"
            yield Finding("outputs before and after all later inputs are changed", apart, ROUNDING, meaning)


Read = Callable[[Tensor], Tensor]
"""A core: (batch, time, width) -> (batch, time, width)."""


def _gradients(read: Read, h: Tensor) -> Tensor:
    """(time, time): largest |d (w . output_i) / d input_j| as a share of the largest of all; w is random."""
    h = h.detach().requires_grad_()
    out = (read(h) * compare.noise(h.shape[2])).sum(dim=(0, 2))
    rows = [torch.autograd.grad(one, h, retain_graph=True, materialize_grads=True)[0] for one in out]
    seen = torch.stack(rows).abs().amax(dim=(1, 3))
    return seen / seen.max().clamp(min=torch.finfo(seen.dtype).tiny)


def _foreseen(read: Read, h: Tensor, name: str) -> Finding:
    later = _gradients(read, h).triu(1).nan_to_num()  # what is no number is for the gate of gradients
    i, j = divmod(int(later.argmax()), h.shape[1])
    meaning = f"output {i + 1} changes with input {j + 1}: the {name} sees the future"
    return Finding("gradients of outputs by later inputs, relative", float(later.max()), ROUNDING, meaning)


def _looks_ahead(read: Read, h: Tensor, name: str) -> Finding:
    later = _gradients(read, h).triu(1)[:-1].amax(dim=1)
    blind = float((later <= ROUNDING).double().mean())
    meaning = f"no output changes with a later input: the {name} is said to read both ways and does not"
    return Finding("the share of outputs that no later input changes", blind, 1 - 0.5 / len(later), meaning)


@torch.no_grad()
def streaming(build: Build, spec: Spec) -> Iterator[Finding]:
    """Steps, and windows with a carried state, give what the whole sequence gives; also after another sequence."""
    net, case = cases.moved(build).double().eval(), cases.case(spec)
    whole = compare.each_step(net, case)
    _stepped(net, case._replace(x=cases.garbage(spec, case.x)))
    apart = [compare.apart(*pair) for pair in zip(_stepped(net, case), whole.unbind(1), strict=True)]
    first = next((step for step, far in enumerate(apart, start=1) if not far <= ROUNDING), 0)
    meaning = f"from step {first} on outputs are others than of the whole sequence: a streamed model is another model"
    yield Finding("outputs step by step and all at once", float(torch.tensor(apart).max()), ROUNDING, meaning)
    if isinstance(net, Seq2Seq) or not hasattr(net.core, "carry"):
        return
    before, state = net.carry(case.x[:, :2])
    after, _ = net.carry(case.x[:, 2:], state)
    meaning = "two windows give other outputs than one: the state carried between windows is not the state"
    windows = torch.cat((before, after), dim=1)
    yield Finding("outputs in two windows and in one", compare.apart(windows, whole), ROUNDING, meaning)


def _stepped(net: Net, case: Case) -> list[Tensor]:
    """Outputs (batch, output_size) of each step, one after the other."""
    outputs = []
    if isinstance(net, Seq2Seq):
        memory = net.encode(case.x, case.lengths)
        state = net.begin(memory)
        for y_t in (torch.full_like(case.y[:, 0], BEGIN), *case.y[:, :-1].unbind(1)):
            out, state = net.step(y_t, memory, state)
            outputs.append(out)
        return outputs
    state = None
    for x_t in case.x.unbind(1):
        out, state = net.step(x_t, state)
        outputs.append(out)
    return outputs


@torch.no_grad()
def padding(build: Build, spec: Spec) -> Iterator[Finding]:
    """An item alone gives what it gives in a batch of longer ones with garbage beyond its end."""
    net, case = cases.moved(build).double().train(), cases.case(spec, uneven=True)
    x = case.x.clone()
    for item, length in enumerate(case.lengths.tolist()):
        x[item, length:] = cases.garbage(spec, x[item, length:])
    together = compare.outputs(net, case._replace(x=x))
    every = spec.outputs in ("every", "ctc", "multilabel")
    for item, length in enumerate(case.lengths.tolist()):
        kept = spec.seen(length) if every else None
        apart = compare.apart(together[item : item + 1, :kept], compare.outputs(net, case.one(item)))
        meaning = f"an item of {length} steps gives other outputs alone than padded to {spec.length}: padding counts"
        yield Finding("outputs of an item alone and padded", apart, ROUNDING, meaning)


@torch.no_grad()
def batch(build: Build, spec: Spec) -> Iterator[Finding]:
    """The others of a batch change nothing, in training and in evaluation."""
    net, case = cases.moved(build).double(), cases.case(spec)
    for training in (True, False):
        together, mode = compare.outputs(net.train(training), case), "training" if training else "evaluation"
        meaning = f"in {mode} an item changes with the other items of its batch: the core mixes them"
        others = cases.garbage(spec, case.x)
        others[0] = case.x[0]
        beside = compare.outputs(net, case._replace(x=others))[0]
        yield Finding("outputs of an item beside other ones", compare.apart(beside, together[0]), ROUNDING, meaning)
        for item in range(len(case.x)):
            alone = compare.apart(compare.outputs(net, case.one(item))[0], together[item])
            yield Finding("outputs of an item alone and in a batch", alone, ROUNDING, meaning)


def state(build: Build, spec: Spec) -> Iterator[Finding]:
    """A batch gives the same before and after others, and after a backward pass."""
    net, case = cases.moved(build).double().eval(), cases.case(spec)
    other = case._replace(x=cases.garbage(spec, case.x))
    with torch.no_grad():
        first = compare.outputs(net, case)
        compare.outputs(net, other)
        again = compare.apart(compare.outputs(net, case), first)
    meaning = "the same inputs give other outputs after a call with others: the core keeps something between calls"
    yield Finding("outputs of a batch before and after another one", again, ROUNDING, meaning)
    torch.autograd.backward(compare.loss(net.train(), other))
    with torch.no_grad():
        trained = compare.apart(compare.outputs(net.eval(), case), first)
    meaning = "the same inputs give other outputs after a backward pass without a step: the core keeps something of it"
    yield Finding("outputs of a batch before and after a backward pass on another one", trained, ROUNDING, meaning)
