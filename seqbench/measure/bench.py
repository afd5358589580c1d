"""The synthetic model that stands for an architecture, and the work that is measured on it.

A model of tokens with an answer at each step, as a language model has: every length and batch works, it can
be streamed and generate, and gradients can be cut (truncated back-propagation).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from seqbench import archs, model
from seqbench.config import MeasureSettings
from seqbench.measure import forms
from seqbench.measure.clock import Work
from seqbench.measurements import Track
from seqbench.records import Spec, derive

VOCABULARY, EMBEDDING = 64, 32
CLIP, RATE = 1.0, 1e-3
SHORT = 16
"""Steps on which two ways of running are compared."""


class Bench:
    """One architecture at the width that the measuring budget gives it.

    `settings.parameters` count frontend, core and head, as in training; weights and inputs come from a seed.
    """

    def __init__(self, arch: str, core: Mapping[str, Any], settings: MeasureSettings, device: torch.device) -> None:
        self.arch, self.core, self.settings, self.device = arch, core, settings, device
        lengths = (*settings.lengths, *settings.memory_lengths, settings.length, settings.gradient_length)
        longest = max(*lengths, *settings.contexts)
        self.spec = Spec(
            inputs="tokens",
            input_size=VOCABULARY,
            embedding=EMBEDDING,
            outputs="every",
            output_size=VOCABULARY,
            length=longest + settings.generate + 1,
            metric="accuracy",
            direction="max",
        )
        self.width = model.solve_width(self.spec, arch, core, settings.parameters)

    def net(self, seed: int = 0, length: int = 0) -> model.Model:
        """The model, initialised from `seed`, on the device; for `length` steps where that is beyond the spec's."""
        spec = self.spec.model_copy(update={"length": max(length, self.spec.length)})
        made = model.build(spec, self.arch, self.core, self.width, derive(seed, "init"))
        assert isinstance(made, model.Model)
        return made.to(self.device)

    @property
    def carries(self) -> bool:
        """Whether the core goes on from a state, so that gradients can be cut in time."""
        return hasattr(archs.find(self.arch), "carry")

    @property
    def identity(self) -> dict[str, Any]:
        """What the model is, as plain data, beside the architecture and its settings."""
        return {"width": self.width, "spec": self.spec.plain()}

    def has(self, path: str) -> bool:
        """Whether the core can be run this way at all; see `forms`."""
        return path != "plain" or hasattr(archs.find(self.arch), "plain")

    def correct(self, path: str) -> bool:
        """Whether this way gives the answers of `forward`, within rounding, on a small batch."""
        usual, other = self.net().eval(), self.net().eval()
        forms.change(other, "best", "", path, self.settings.window)
        x, _ = self.data(2, SHORT)
        with torch.inference_mode():
            return torch.allclose(usual(x), other(x), rtol=1e-3, atol=1e-4)

    def data(self, batch: int, length: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Tokens x and labels y, each (batch, length), from `seed`, on the device."""
        generator = torch.Generator().manual_seed(derive(seed, "inputs"))
        x, y = torch.randint(VOCABULARY, (2, batch, length), generator=generator)
        return x.to(self.device), y.to(self.device)

    # ---------------------------------------------------------------- phases

    def train(self, batch: int, length: int, track: Track = "best", form: str = "", path: str = "eager") -> Work:
        """A training step, in the order of the training loop: the last gradients live until the loss is there."""
        net, (x, y) = self.net(length=length).train(), self.data(batch, length)
        forms.change(net, track, form, path, self.settings.window)
        parameters = list(net.parameters())
        optimizer = torch.optim.AdamW(parameters, lr=RATE, fused=True)

        def step() -> None:
            if form == forms.TRUNCATED:
                optimizer.zero_grad(set_to_none=True)
                forms.truncated(net, x, y, self.settings.window)
            else:
                loss = model.loss(net(x), y, self.spec)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()

        return forms.under(track, form, step)

    def infer(self, batch: int, length: int, track: Track = "best", form: str = "", path: str = "eager") -> Work:
        """The outputs of a batch."""
        net, (x, _) = self.net().eval(), self.data(batch, length)
        forms.change(net, track, form, path, self.settings.window)
        return forms.under(track, form, torch.inference_mode()(lambda: net(x)))

    def first_token(self, length: int) -> Work:
        """The next token after a prompt of `length` tokens of one sequence, read all at once."""
        net, (x, _) = self.net().eval(), self.data(1, length)
        return torch.inference_mode()(lambda: net(x)[:, -1].argmax(-1))

    def stream(self, length: int) -> Work:
        """One step of one sequence after `length` steps.

        Every repetition starts from the same state (a growing cache would not stay at `length`).
        """
        net, x, state = self._after(1, length)
        return torch.inference_mode()(lambda: net.step(x, state))

    def generate(self, batch: int, length: int) -> Work:
        """`settings.generate` tokens of each sequence of a batch after `length` steps, always the likeliest."""
        net, first, state = self._after(batch, length)

        @torch.inference_mode()
        def write() -> None:
            token, now = first, state
            for _ in range(self.settings.generate):
                logits, now = net.step(token, now)
                token = logits.argmax(-1)

        return write

    def _after(self, batch: int, length: int) -> tuple[model.Model, Tensor, Any]:
        """The model, the next token (batch,) and the state after `length` steps."""
        net, (x, _) = self.net().eval(), self.data(batch, length + 1)
        state = None
        with torch.inference_mode():
            for x_t in x[:, :-1].unbind(1):
                _, state = net.step(x_t, state)
        return net, x[:, -1], state

    def gradient(self, seed: int, length: int) -> list[float]:
        """Norm of d loss_T / d x_(T-lag) for lag 0 .. length-1, at initialisation, in float64.

        loss_T is the cross-entropy of one sequence at its last step, x what the core reads; the norm is
        over features, and the mean over the sequences of a batch. (Pascanu et al. 2013, eq. 5: the same
        chain of Jacobians. In float32 it underflows to zero after some hundred steps.)
        """
        net = self.net(seed).double().train()  # cuDNN has no backward of recurrent layers in eval mode
        for module in net.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        x, y = self.data(self.settings.batch, length, seed)
        h = net.frontend(x).detach().requires_grad_()
        loss = model.loss(net.head.logits(net.core(h)[:, -1], net.table), y[:, -1], self.spec)
        (slope,) = torch.autograd.grad(loss * len(x), h)
        norms: list[float] = slope.norm(dim=2).mean(dim=0).flip(0).tolist()
        return norms
