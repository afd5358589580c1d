"""Gates: what an architecture must hold, in every kind of model, before it may be timed or ranked.

Tiny models in float64 on the CPU, away from their first weights, so that nothing that begins at zero hides
a fault; without dropout. A check that raises is a check that failed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from seqbench import archs, device, model, parts
from seqbench.errors import InputError, SeqbenchError
from seqbench.measurements import Check, Gate, Gates
from seqbench.model import Net
from seqbench.records import BEGIN, END, UNSCORED, Spec
from seqbench.seq2seq import Seq2Seq

WIDTH = 8
"""Of the models, or the next one up that the core takes."""
STEPS, LONG = 6, 70
"""Steps that the core sees; LONG where one map of values stands before outputs for every step, so that a core that
reads in blocks (of 64, say) is caught at their borders."""
SHORTER = (3, 4)
"""Steps of the other items of a batch that are padded."""
FRONTENDS: dict[str, dict[str, Any]] = {
    "embedding": {"inputs": "tokens", "input_size": 11, "embedding": 5},
    "linear": {"inputs": "values", "input_size": 3},
    "spectrogram": {"inputs": "values", "input_size": 5, "frontend": "spectrogram"},
    "frames": {"inputs": "values", "input_size": 64, "frontend": "frames", "frame": (1, 8, 8)},
}
HEADS: tuple[dict[str, Any], ...] = (
    *({"outputs": outputs, "pooling": how} for outputs in ("classes", "values") for how in ("last", "mean", "ends")),
    {"outputs": "steps", "window": 2},
    *({"outputs": outputs} for outputs in ("every", "stream", "multilabel")),
    {"outputs": "ctc", "target_length": 2},
    *({"outputs": "sequence", "target_length": 5, "connection": how} for how in ("none", "additive", "attention")),
)
SIZE = 4
"""Numbers per output; with an embedding that is also the head's last map as many as tokens."""

ROUNDING = 1e-9
"""Of sums taken in another order, in float64, relative to the largest number (or to 1)."""
SHIFT = 0.02
"""Standard deviation of what is added to the first weights."""
EPSILON = 1e-6
"""Of central differences, along a direction of length 1: so small that hardly a ReLU turns on the way."""
DIFFERENCES, SINGLE, CLIPPED = 1e-5, 1e-4, 1e-4
"""Tolerances, relative: of central differences; of gradients in float32; of the clipped norm (torch adds 1e-6)."""
SEED, OTHER_SEED = 1, 2

Build = Callable[[int], Net]
"""Seed -> a float32 model."""


class Finding(NamedTuple):
    """One comparison of a gate."""

    what: str
    deviation: float
    tolerance: float
    meaning: str
    """What it means where the deviation is larger than the tolerance, or no number."""

    @property
    def passed(self) -> bool:
        """NaN does not pass."""
        return self.deviation <= self.tolerance


class Case(NamedTuple):
    """A small batch."""

    x: Tensor
    """(batch, time, ...)"""
    y: Tensor
    """As the loss takes it."""
    lengths: Tensor
    """(batch,)"""

    def one(self, item: int) -> Case:
        """An item alone, without padding."""
        rows, steps = slice(item, item + 1), int(self.lengths[item])
        return Case(self.x[rows, :steps], self.y[rows], self.lengths[rows])


# ---------------------------------------------------------------- models and batches


def specs() -> list[Spec]:
    """A tiny spec of every kind of model that can be built (`Spec.kind`), each kind once."""
    found = []
    for (name, frontend), head, causal in itertools.product(FRONTENDS.items(), HEADS, (True, False)):
        outputs = head["outputs"]
        quarter = name == "spectrogram" and (causal or outputs not in ("classes", "values", "ctc"))
        if quarter or (outputs == "stream" and not causal):
            continue
        if outputs == "sequence" and (causal or name != "embedding"):
            continue
        tied = name == "embedding" and outputs in ("stream", "sequence")
        size = frontend["input_size"] if tied else SIZE
        steps = LONG if name == "linear" and outputs == "every" else STEPS
        shared: dict[str, Any] = {"output_size": size, "length": _length(name, steps), "tied": tied}
        found.append(Spec(causal=causal, metric="loss", direction="min", **frontend, **head, **shared))
    return found


def _length(frontend: str, steps: int) -> int:
    """Inputs of which the core sees so many steps."""
    return 4 * steps - 2 if frontend == "spectrogram" else steps


def _width(spec: Spec, arch: str, core_settings: Mapping[str, Any]) -> int:
    """The narrowest from WIDTH on that the core takes. InputError: it takes none."""
    refusals = []
    for width in range(WIDTH, WIDTH + model.LARGEST_STEP):
        try:
            model.build(spec, arch, core_settings, width, SEED)
        except InputError as error:
            refusals.append(error)
        else:
            return width
    raise refusals[0]


def _net(spec: Spec, arch: str, core_settings: Mapping[str, Any], width: int, seed: int) -> Net:
    """A model whose layers of dropout do nothing."""
    net = model.build(spec, arch, core_settings, width, seed)
    for module in net.modules():
        if isinstance(module, nn.Dropout | nn.Dropout1d | nn.Dropout2d):
            module.p = 0.0
    return net


def _moved(build: Build) -> Net:
    """A float32 model, its weights moved a little at random."""
    net, random = build(SEED), torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for weights in net.parameters():
            weights.add_(torch.randn(weights.shape, generator=random), alpha=SHIFT)
    return net


def _case(spec: Spec, uneven: bool = False) -> Case:
    """A batch of full length, or (but of a stream) with SHORTER items; y is not scored beyond their ends."""
    random, batch, longest = torch.Generator().manual_seed(SEED), 1 + len(SHORTER), spec.seen(spec.length)
    shorter = SHORTER if uneven and spec.outputs != "stream" else [longest] * len(SHORTER)
    steps = torch.tensor([longest, *shorter])
    lengths = torch.tensor([_length(spec.frontend, count) for count in steps.tolist()])
    shape = batch, spec.length
    if spec.inputs == "tokens":
        x = torch.randint(END + 1, spec.input_size, shape, generator=random)
    else:
        x = torch.randn(*shape, *(spec.frame or (spec.input_size,)), generator=random, dtype=torch.float64)
    beyond = torch.arange(longest) >= steps[:, None]
    sizes: dict[str, tuple[int, ...]] = {
        "classes": (batch,),
        "values": (batch, spec.output_size),
        "steps": (batch, spec.window),
        "multilabel": (*beyond.shape, spec.output_size),
        "ctc": (batch, spec.target_length),
        "sequence": (batch, spec.target_length),
    }
    labels = 2 if spec.outputs == "multilabel" else spec.output_size
    least = {"ctc": parts.BLANK + 1, "sequence": END}.get(spec.outputs, 0)
    y = torch.randint(least, labels, sizes.get(spec.outputs, tuple(beyond.shape)), generator=random)
    if spec.outputs in ("ctc", "sequence"):
        y[1, -1] = UNSCORED
    elif spec.outputs in ("every", "stream", "multilabel"):
        y[beyond] = UNSCORED
    return Case(x, y, lengths)


def _garbage(spec: Spec, x: Tensor) -> Tensor:
    """Other tokens, or far larger values, in each place of x."""
    if spec.inputs == "tokens":
        return END + 1 + (x - END) % (spec.input_size - END - 1)
    return 1000.0 + 100.0 * x


def _outputs(net: Net, case: Case) -> Tensor:
    """As in training. A batch of full length is read without lengths where the model allows it."""
    lengths = case.lengths
    if isinstance(net, Seq2Seq):
        return cast(Tensor, net(case.x, lengths, case.y))
    return cast(Tensor, net(case.x, lengths if int(lengths.min()) < case.x.shape[1] else None))


def _loss(net: Net, case: Case) -> Tensor:
    steps = None if isinstance(net, Seq2Seq) else net.steps(case.lengths)
    return model.loss(_outputs(net, case), case.y, net.spec, steps)


def _each_step(net: Net, case: Case) -> Tensor:
    """Outputs for each step, (batch, time, output_size), also of a model that pools; of a batch of full length."""
    if isinstance(net, Seq2Seq):
        return _outputs(net, case)
    h = parts.read(net.core, net.arch, net.frontend(case.x), None)
    return net.head.logits(h, net.table)


def _cores(net: Net) -> dict[str, nn.Module]:
    """The cores of a model by the name of its part."""
    names = ("encoder", "decoder") if isinstance(net, Seq2Seq) else ("core",)
    return {name: getattr(net, name) for name in names}


def _apart(found: Tensor, wanted: Tensor) -> float:
    """Largest distance, relative to the largest number wanted, or to 1 where that is more."""
    if found.shape != wanted.shape:
        raise ValueError(f"outputs of shape {tuple(found.shape)} instead of {tuple(wanted.shape)}")
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1.0))


def _noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(SEED), dtype=torch.float64)


# ---------------------------------------------------------------- the gates


def _causality(build: Build, spec: Spec) -> Iterator[Finding]:
    """Of causal cores no output has a gradient by, or changes with, later inputs; others see later inputs."""
    net, case = _moved(build).double().eval(), _case(spec)
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
        outputs, garbage = _each_step(net, case), _garbage(spec, inputs)
        for cut in range(1, inputs.shape[1], max(1, inputs.shape[1] // STEPS)):
            changed = case._replace(**{name: torch.cat((inputs[:, :cut], garbage[:, cut:]), dim=1)})
            apart = _apart(_each_step(net, changed)[:, : cut + late], outputs[:, : cut + late])
            meaning = f"one of the outputs 1 to {cut + late} changes with later inputs: the core sees the future"
            yield Finding("outputs before and after all later inputs are changed", apart, ROUNDING, meaning)


Read = Callable[[Tensor], Tensor]
"""A core: (batch, time, width) -> (batch, time, width)."""


def _gradients(read: Read, h: Tensor) -> Tensor:
    """(time, time): largest |d (w . output_i) / d input_j| as a share of the largest of all; w is random."""
    h = h.detach().requires_grad_()
    out = (read(h) * _noise(h.shape[2])).sum(dim=(0, 2))
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
def _streaming(build: Build, spec: Spec) -> Iterator[Finding]:
    """Steps, and windows with a carried state, give what the whole sequence gives; also after another sequence."""
    net, case = _moved(build).double().eval(), _case(spec)
    whole = _each_step(net, case)
    _stepped(net, case._replace(x=_garbage(spec, case.x)))
    apart = [_apart(*pair) for pair in zip(_stepped(net, case), whole.unbind(1), strict=True)]
    first = next((step for step, far in enumerate(apart, start=1) if not far <= ROUNDING), 0)
    meaning = f"from step {first} on outputs are others than of the whole sequence: a streamed model is another model"
    yield Finding("outputs step by step and all at once", float(torch.tensor(apart).max()), ROUNDING, meaning)
    if isinstance(net, Seq2Seq) or not hasattr(net.core, "carry"):
        return
    before, state = net.carry(case.x[:, :2])
    after, _ = net.carry(case.x[:, 2:], state)
    meaning = "two windows give other outputs than one: the state carried between windows is not the state"
    windows = torch.cat((before, after), dim=1)
    yield Finding("outputs in two windows and in one", _apart(windows, whole), ROUNDING, meaning)


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
def _padding(build: Build, spec: Spec) -> Iterator[Finding]:
    """An item alone gives what it gives in a batch of longer ones with garbage beyond its end."""
    net, case = _moved(build).double().train(), _case(spec, uneven=True)
    x = case.x.clone()
    for item, length in enumerate(case.lengths.tolist()):
        x[item, length:] = _garbage(spec, x[item, length:])
    together = _outputs(net, case._replace(x=x))
    every = spec.outputs in ("every", "ctc", "multilabel")
    for item, length in enumerate(case.lengths.tolist()):
        kept = spec.seen(length) if every else None
        apart = _apart(together[item : item + 1, :kept], _outputs(net, case.one(item)))
        meaning = f"an item of {length} steps gives other outputs alone than padded to {spec.length}: padding counts"
        yield Finding("outputs of an item alone and padded", apart, ROUNDING, meaning)


@torch.no_grad()
def _batch(build: Build, spec: Spec) -> Iterator[Finding]:
    """The others of a batch change nothing, in training and in evaluation."""
    net, case = _moved(build).double(), _case(spec)
    for training in (True, False):
        together, mode = _outputs(net.train(training), case), "training" if training else "evaluation"
        meaning = f"in {mode} an item changes with the other items of its batch: the core mixes them"
        others = _garbage(spec, case.x)
        others[0] = case.x[0]
        beside = _outputs(net, case._replace(x=others))[0]
        yield Finding("outputs of an item beside other ones", _apart(beside, together[0]), ROUNDING, meaning)
        for item in range(len(case.x)):
            alone = _outputs(net, case.one(item))[0]
            yield Finding("outputs of an item alone and in a batch", _apart(alone, together[item]), ROUNDING, meaning)


def _state(build: Build, spec: Spec) -> Iterator[Finding]:
    """A batch gives the same before and after others, and after a backward pass."""
    net, case = _moved(build).double().eval(), _case(spec)
    other = case._replace(x=_garbage(spec, case.x))
    with torch.no_grad():
        first = _outputs(net, case)
        _outputs(net, other)
        again = _apart(_outputs(net, case), first)
    meaning = "the same inputs give other outputs after a call with others: the core keeps something between calls"
    yield Finding("outputs of a batch before and after another one", again, ROUNDING, meaning)
    torch.autograd.backward(_loss(net.train(), other))
    with torch.no_grad():
        trained = _apart(_outputs(net.eval(), case), first)
    meaning = "the same inputs give other outputs after a backward pass without a step: the core keeps something of it"
    yield Finding("outputs of a batch before and after a backward pass on another one", trained, ROUNDING, meaning)


@torch.no_grad()
def _seed(build: Build, spec: Spec) -> Iterator[Finding]:
    """The seed decides the first weights, and nothing else does."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        first = build(SEED)
        torch.default_generator.manual_seed(OTHER_SEED)
        again, other = build(SEED), build(OTHER_SEED)
    differ = sum(not torch.equal(*pair) for pair in zip(_held(first), _held(again), strict=True))
    meaning = "two models of one seed have other weights: something else than the seed decides them"
    yield Finding("parameters and buffers that differ in two models of one seed", float(differ), 0.0, meaning)
    h = _noise(1, STEPS, first.head.linear.in_features).float()
    for name, core in _cores(first).items():
        if next(core.parameters(), None) is None:
            continue
        twin = _cores(other)[name]
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


def _clipping(build: Build, spec: Spec) -> Iterator[Finding]:
    """The clipped gradient (Pascanu et al. 2013) has the norm asked for, and a plain step the length rate x norm."""
    net = _moved(build).double().train()
    loss, parameters = _loss(net, _case(spec, uneven=True)), list(net.parameters())
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


def _gradient(build: Build, spec: Spec) -> Iterator[Finding]:
    """Gradients reach every parameter of the core, are finite, and are those of differences and of float32."""
    net, case = _moved(build).double().train(), _case(spec, uneven=True)
    out = _each_step(net, _case(spec))  # of all steps: where only the last counts, some weights have nothing to do
    torch.autograd.backward((out * _noise(*out.shape)).sum())
    of_cores = tuple(f"{name}." for name in _cores(net))
    still = [name for name, grad in _named(net) if name.startswith(of_cores) and not grad.any()]
    meaning = f"no gradient reaches {', '.join(still)}: training leaves it as it is"
    yield Finding("parameters of the core without a gradient", float(len(still)), 0.0, meaning)
    net.zero_grad()
    loss = _loss(net, case)
    torch.autograd.backward(loss)
    wrong = [name for name, number in (("the loss", loss), *_named(net)) if not number.isfinite().all()]
    meaning = f"infinite or no number: {wrong[0] if wrong else ''}{' and more' * (len(wrong) > 1)}"
    yield Finding("losses and gradients that are not finite", float(len(wrong)), 0.0, meaning)
    yield from _differences(net, case)
    single = _moved(build).train()
    torch.autograd.backward(_loss(single, case))
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
    of_cores = {id(weights) for core in _cores(net).values() for weights in core.parameters()}
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
        losses.append(float(_loss(net, case)))
    for weights, start in zip(group, before, strict=True):
        weights.copy_(start)
    slope = sum(float((cast(Tensor, weights.grad) * way).sum()) for weights, way in zip(group, ways, strict=True))
    return (losses[0] - losses[1]) / (2 * EPSILON), slope / size


WORK: dict[Gate, Callable[[Build, Spec], Iterator[Finding]]] = {
    "state": _state,
    "batch": _batch,
    "seed": _seed,
    "causality": _causality,
    "padding": _padding,
    "streaming": _streaming,
    "gradient": _gradient,
    "clipping": _clipping,
}
"""In this order: a fault of an earlier gate may make later ones fail as well."""


# ---------------------------------------------------------------- verdicts


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
    still = {key: 0.0 if key == "dropout" else value for key, value in core_settings.items()}
    try:
        width = _width(spec, arch, still)
    except SeqbenchError as error:
        return [_unchecked(gate, spec, error) for gate in applying]
    build = partial(_net, spec, arch, still, width)
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
