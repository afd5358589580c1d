"""Writing with a trained model: sampling of a stream, greedy and beam search of a sequence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from seqbench.model import Model
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

    A core that does not carry its state has learned windows of `spec.length` steps only: when one is
    full, the last half of it is read anew, as in evaluation.
    """
    window = 0 if hasattr(net.core, "carry") else net.spec.length  # 0: without end
    unread: list[int] = prompt.tolist()[-window:]
    state: Any = None
    seen: list[int] = []
    while True:
        for token in unread:
            logits, state = net.step(torch.tensor([token], device=prompt.device), state)
        yield (chosen := _draw(logits[0].float().cpu(), generator, temperature, top_k))
        seen, unread = [*seen, *unread], [chosen]
        if not window:
            seen = []
        elif len(seen) == window:
            seen, unread, state = [], [*seen, chosen][-max(window // 2, 1) :], None


def _draw(logits: Tensor, generator: torch.Generator, temperature: float, top_k: int) -> int:
    if temperature == 0:
        return int(logits.argmax())
    values, tokens = logits.topk(min(top_k or len(logits), len(logits)))
    chance = torch.softmax(values.double() / temperature, dim=0)
    return int(tokens[torch.multinomial(chance, 1, generator=generator)])


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
