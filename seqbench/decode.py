"""Writing with a trained model: sampling step by step, and greedy and beam search of sequences and alignments."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from seqbench.model import Model
from seqbench.parts import BLANK
from seqbench.records import BEGIN, END, PAD, UNSCORED
from seqbench.seq2seq import Memory, Seq2Seq

LENGTH_PENALTY = 1.0
"""alpha: hypotheses rank by log probability / tokens^alpha; 1 is the mean over tokens."""


def select(state: Any, index: Tensor) -> Any:
    """These items of a state: every tensor of the nested tuple has the batch first."""
    if isinstance(state, Tensor):
        return state.index_select(0, index.to(state.device))
    if isinstance(state, Memory):
        return Memory(*(select(part, index) for part in state))
    return tuple(select(part, index) for part in state) if isinstance(state, tuple | list) else state


@torch.no_grad()
def sample(
    net: Model, prompt: Tensor, generator: torch.Generator, temperature: float = 1.0, top_k: int = 0
) -> Iterator[int]:
    """Token after token, without end, after prompt (time,) of 1 or more tokens, by streaming `step`.

    Drawn from softmax(logits / temperature) of the `top_k` likeliest tokens (0: of all); at
    temperature 0 the likeliest is taken. `generator` is one of the CPU.
    """
    for token in _streamed(net, prompt, lambda logits: _draw(logits, generator, temperature, top_k)):
        yield int(token)


@torch.no_grad()
def sample_many(net: Model, prompt: Tensor, generator: torch.Generator, temperature: float = 1.0) -> Iterator[Tensor]:
    """Step after step of yes-or-no labels (labels,), without end, after prompt (time, labels) of 1 or more, by
    streaming `step`.

    Each label is drawn on its own with chance sigmoid(logit / temperature); at temperature 0 it is yes
    where that is likelier. What is drawn, not the chance of it, is what the model reads next.
    """
    return _streamed(net, prompt, lambda logits: _draw_many(logits, generator, temperature).to(prompt.dtype))


@torch.no_grad()
def _streamed(net: Model, prompt: Tensor, draw: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
    """What `draw` makes of the logits after prompt (time, ...), then after that too, and so on.

    A core that does not carry its state has learned windows of `spec.length` steps only: when one is
    full, the last half of it is read anew, as in evaluation.
    """
    window = 0 if hasattr(net.core, "carry") else net.spec.length  # 0: without end
    unread = list(prompt[-window:])
    state: Any = None
    seen: list[Tensor] = []
    while True:
        for x_t in unread:
            logits, state = net.step(x_t[None], state)
        yield (chosen := draw(logits[0].float().cpu()))
        seen, unread = [*seen, *unread], [chosen.to(prompt.device)]
        if not window:
            seen = []
        elif len(seen) == window:
            seen, unread, state = [], [*seen, chosen.to(prompt.device)][-max(window // 2, 1) :], None


def _draw(logits: Tensor, generator: torch.Generator, temperature: float, top_k: int) -> Tensor:
    if temperature == 0:
        return logits.argmax()
    values, tokens = logits.topk(min(top_k or len(logits), len(logits)))
    chance = torch.softmax(values.double() / temperature, dim=0)
    return tokens[torch.multinomial(chance, 1, generator=generator)[0]]


def _draw_many(logits: Tensor, generator: torch.Generator, temperature: float) -> Tensor:
    if temperature == 0:
        return logits > 0
    return torch.rand(len(logits), generator=generator, dtype=torch.float64) < torch.sigmoid(
        logits.double() / temperature
    )


@torch.no_grad()
def greedy(net: Seq2Seq, x: Tensor, lengths: Tensor) -> Tensor:
    """The likeliest token at each step: (batch, target_length), UNSCORED after END.

    x (batch, steps), lengths (batch,) on the CPU. Sentences that have ended are computed no further.
    """
    memory, limit = net.encode(x, lengths), net.spec.target_length
    written = torch.full((len(x), limit), UNSCORED, device=x.device)
    alive, token = torch.arange(len(x), device=x.device), torch.full((len(x),), BEGIN, device=x.device)
    state = net.begin(memory)
    for t in range(limit):
        logits, state = net.step(token, memory, state)
        token = _sayable(logits).argmax(dim=1)
        written[alive, t] = token
        going = (token != END).nonzero()[:, 0]
        if not len(going):
            break
        if len(going) < len(token):
            alive, token = alive[going], token[going]
            memory, state = select(memory, going), select(state, going)
    return written


@torch.no_grad()
def beam(net: Seq2Seq, x: Tensor, lengths: Tensor, width: int, penalty: float = LENGTH_PENALTY) -> Tensor:
    """Beam search of `width` hypotheses a sentence, batched: (batch, target_length), UNSCORED after END.

    A hypothesis ranks by its log probability over (tokens, END among them)^penalty (Wu et al. 2016,
    sec. 7, in its plain form). A sentence is done when its best ended hypothesis ranks no lower than
    its best living one as that is; then, or after `target_length` tokens, the better one is taken.
    """
    batch, limit, device = len(x), net.spec.target_length, x.device
    memory = select(net.encode(x, lengths), torch.arange(batch).repeat_interleave(width))
    state, token = net.begin(memory), torch.full((batch * width,), BEGIN, device=device)
    scores = torch.full((batch, width), -math.inf, device=device)
    scores[:, 0] = 0.0  # all hypotheses are the same at first: only one counts
    living = torch.full((batch, width, limit), UNSCORED, device=device)
    best, written = torch.full((batch,), -math.inf, device=device), living[:, 0].clone()
    done = torch.zeros(batch, dtype=torch.bool, device=device)  # others of the batch must not change a sentence
    first = torch.arange(batch, device=device)[:, None] * width
    for t in range(limit):
        logits, state = net.step(token, memory, state)
        chance = torch.log_softmax(_sayable(logits), dim=1).view(batch, width, -1)
        ended = (scores + chance[:, :, END]) / (t + 1) ** penalty
        top, which = ended.max(dim=1)
        better = (top > best) & ~done
        best = torch.where(better, top, best)
        text = living[torch.arange(batch, device=device), which]
        text[:, t] = END
        written = torch.where(better[:, None], text, written)
        chance[:, :, END] = -math.inf
        scores, chosen = (scores[:, :, None] + chance).flatten(1).topk(width, dim=1)
        parent, token = chosen // chance.shape[2], chosen % chance.shape[2]
        living = living.gather(1, parent[:, :, None].expand(-1, -1, limit))
        living[:, :, t] = token
        state = select(state, (first + parent).flatten())
        token = token.flatten()
        done |= best >= scores[:, 0] / (t + 1) ** penalty
        if bool(done.all()):
            break
    return torch.where(done[:, None], written, living[:, 0])


def _sayable(logits: Tensor) -> Tensor:
    """Padding and the begin mark are never written."""
    logits = logits.clone()
    logits[:, [PAD, BEGIN]] = -math.inf
    return logits


# ---------------------------------------------------------------- connectionist temporal classification


def best_path(outputs: Tensor, steps: Tensor | None) -> list[list[int]]:
    """The labels of the likeliest path: the likeliest at each step, repeats merged, blanks dropped.

    outputs (batch, time, output_size), of which `steps` (batch,) count (Graves et al. 2006, sec. 3.2).
    """
    counts = [outputs.shape[1]] * len(outputs) if steps is None else steps.tolist()
    paths = outputs.argmax(dim=2).tolist()
    return [
        [label for label, _ in itertools.groupby(path[:count]) if label != BLANK]
        for path, count in zip(paths, counts, strict=True)
    ]


def prefix_beam(outputs: Tensor, steps: Tensor | None, width: int) -> list[list[int]]:
    """The likeliest labels over all their paths, by a prefix beam search (Hannun et al. 2014) of `width` prefixes.

    outputs (batch, time, output_size) are logits, of which `steps` (batch,) count. A prefix has the chance of its
    paths that end in a blank and of those that end in its last label apart, since only after a blank may a
    label come twice.
    """
    counts = [outputs.shape[1]] * len(outputs) if steps is None else steps.tolist()
    chances = torch.log_softmax(outputs.double(), dim=2).cpu().tolist()
    return [_prefix_beam(item[:count], width) for item, count in zip(chances, counts, strict=True)]


def _prefix_beam(chances: list[list[float]], width: int) -> list[int]:
    """chances (steps, labels) in log space -> labels."""
    nothing = (-math.inf, -math.inf)
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}
    for step in chances:
        after: dict[tuple[int, ...], tuple[float, float]] = {}
        for prefix, (blank, label) in beams.items():
            both, last = _either(blank, label), prefix[-1] if prefix else BLANK
            kept = after.get(prefix, nothing)
            again = _either(kept[1], label + step[last]) if prefix else kept[1]
            after[prefix] = _either(kept[0], both + step[BLANK]), again
            for new, chance in enumerate(step[1:], start=1):
                longer = (*prefix, new)
                known = after.get(longer, nothing)
                after[longer] = known[0], _either(known[1], (blank if new == last else both) + chance)
        ranked = sorted(after, key=lambda prefix: _either(*after[prefix]), reverse=True)
        beams = {prefix: after[prefix] for prefix in ranked[:width]}
    return list(next(iter(beams)))


def _either(a: float, b: float) -> float:
    """log(exp(a) + exp(b))."""
    high, low = (a, b) if a > b else (b, a)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))
