"""The model around a core: frontend, head, loss, width for a budget, and broken architectures."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from synthetic import CONVOLUTION, install, prepare
from torch.profiler import ProfilerActivity, profile

from seqbench import archs, batches, evaluate, model, tasks
from seqbench.errors import InputError
from seqbench.records import UNSCORED, Spec

EVERY = archs.names()
every = pytest.mark.parametrize("arch", EVERY)
both_ways = pytest.mark.parametrize("causal", [True, False])


def change(spec: Spec, **changes: Any) -> Spec:
    return spec.model_copy(update=changes)


VALUES = Spec(inputs="values", input_size=2, outputs="values", output_size=1, length=7, metric="mse", direction="min")
STEPS = Spec(
    inputs="tokens",
    input_size=10,
    embedding=8,
    outputs="steps",
    output_size=9,
    window=3,
    length=7,
    metric="accuracy",
    direction="max",
)
CLASSES = Spec(
    inputs="values", input_size=8, outputs="classes", output_size=10, length=7, metric="accuracy", direction="max"
)
STREAM = change(STEPS, outputs="stream", output_size=10, window=0)
SPECS = {"values": VALUES, "steps": STEPS, "classes": CLASSES}
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def inputs(spec: Spec, batch: int = 4, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if spec.inputs == "tokens":
        return torch.randint(spec.input_size, (batch, spec.length), generator=generator, dtype=torch.uint8)
    return torch.randn(batch, spec.length, spec.input_size, generator=generator)


def built(spec: Spec, arch: str = "gru", width: int = 8, seed: int = 1, **settings: Any) -> model.Model:
    return model.build(spec, arch, archs.defaults(arch) | settings, width, seed)


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Adds a person's own architecture file, of a name that no other test uses."""
    monkeypatch.setattr(archs, "FOLDER", tmp_path)
    monkeypatch.setattr(archs, "__path__", [str(tmp_path)])

    def add(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return add


# ---------------------------------------------------------------- frontend and head


@every
@every_spec
@both_ways
def test_shapes_of_outputs(arch: str, spec: Spec, causal: bool) -> None:
    outputs = built(change(spec, causal=causal), arch)(inputs(spec))
    assert outputs.shape == ((4, 3, 9) if spec is STEPS else (4, spec.output_size))
    assert outputs.dtype == torch.float32


def test_values_are_shifted_and_scaled() -> None:
    plain, scaled = built(VALUES), built(change(VALUES, shift=3.0, scale=2.0))
    x = inputs(VALUES)
    torch.testing.assert_close(scaled(x * 2.0 + 3.0), plain(x))


def test_one_feature_needs_no_last_axis_and_may_be_bytes() -> None:
    spec = change(CLASSES, input_size=1, scale=255.0)
    pixels = torch.randint(256, (4, 7), dtype=torch.uint8)
    made = built(spec)
    assert torch.equal(made(pixels), made(pixels.float()[..., None]))


def test_steps_are_the_last_window() -> None:
    made, x = built(STEPS), inputs(STEPS)
    h = made.core(made.frontend(x))
    assert torch.equal(made(x), made.head.linear(h[:, 4:]))
    lengths = torch.tensor([7, 5, 4, 3])
    for item, length in enumerate(lengths):
        torch.testing.assert_close(made(x, lengths)[item], made.head.linear(h[item, length - 3 : length]))


@every
@both_ways
@pytest.mark.parametrize("pooling", ["last", "mean", "ends"])
def test_an_item_alone_equals_the_item_in_a_padded_batch(arch: str, causal: bool, pooling: str) -> None:
    spec = change(CLASSES, causal=causal, pooling=pooling)
    made, x = built(spec, arch).double().eval(), inputs(spec).double()
    lengths = torch.tensor([3, 7, 1, 5])
    outputs = made(x, lengths)
    for item, length in enumerate(lengths):
        alone = made(x[item : item + 1, :length])
        torch.testing.assert_close(outputs[item], alone[0], rtol=1e-10, atol=1e-10)
    assert not torch.allclose(outputs[0], made(x)[0])


@every
@every_spec
def test_streaming_equals_the_whole_sequence(arch: str, spec: Spec) -> None:
    made, x, state = built(spec, arch).double().eval(), inputs(spec), None
    for t in range(spec.length):
        outputs, state = made.step(x[:, t], state)
    whole = made(x)[:, -1] if spec is STEPS else made(x)
    torch.testing.assert_close(outputs, whole, rtol=1e-10, atol=1e-10)


@every
@pytest.mark.parametrize("window", [1, 3, 7])
def test_windows_of_a_stream_equal_the_whole(arch: str, window: int) -> None:
    made, x, state, outputs = built(STREAM, arch).double().eval(), inputs(STREAM), None, []
    for part in torch.split(x, window, dim=1):
        out, state = made.carry(part, state)
        outputs.append(out)
    if hasattr(made.core, "carry"):
        close(torch.cat(outputs, dim=1), made(x))
    else:  # each window by itself
        assert state is None
        close(torch.cat(outputs, dim=1), torch.cat([made(part) for part in torch.split(x, window, dim=1)], dim=1))


def test_a_stream_that_reads_both_ways_is_refused() -> None:
    with pytest.raises(InputError, match="both ways"):
        built(change(STREAM, causal=False))


@every
@both_ways
def test_every_step_has_outputs(arch: str, causal: bool) -> None:
    spec = change(STREAM, outputs="every", causal=causal)
    made, x = built(spec, arch).double().eval(), inputs(spec)
    lengths = torch.tensor([3, 7, 1, 5])
    outputs = made(x, lengths)
    assert outputs.shape == (4, 7, 10)
    for item, length in enumerate(lengths):
        close(outputs[item, :length], made(x[item : item + 1, :length])[0])


def test_streaming_both_ways_is_refused() -> None:
    with pytest.raises(InputError, match="both ways"):
        built(change(VALUES, causal=False)).step(inputs(VALUES)[:, 0])


@pytest.mark.parametrize("spec", [change(STEPS, embedding=0), change(STEPS, window=0)], ids=["embedding", "window"])
def test_a_spec_without_embedding_or_window_is_refused(spec: Spec) -> None:
    with pytest.raises(InputError, match="of the task"):
        built(spec)


# ---------------------------------------------------------------- a spec that differs from the data's


class Read:
    """A prepared task, read by a model whose spec differs from that of the data."""

    def __init__(self, root: Path, name: str, arch: str, settings: dict[str, Any], **changes: Any) -> None:
        self.prepared = prepare(name, root, **settings)
        self.splits = batches.Splits(self.prepared, torch.device("cpu"))
        self.spec = change(self.prepared.spec, **changes)
        assert self.spec != self.prepared.spec
        self.net: Any = built(self.spec, arch).double()
        self.task = tasks.build(name, self.prepared.manifest.settings)

    def score(self) -> dict[str, float]:
        return evaluate.evaluate(self.net, self.task, self.splits.valid, self.prepared, final=True)

    def seen(self) -> torch.Tensor:
        """(steps, steps): largest |d state_i / d state before the core_j| of the first item, at its full length."""
        h = torch.randn(1, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
        out = (self.net.core(h) * torch.arange(1.0, 9.0)).sum(-1)[0]
        rows = [torch.autograd.grad(one, h, retain_graph=True)[0][0].abs().amax(1) for one in out]
        return torch.stack(rows)


MADE: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("made_every", {"outputs": "classes"}, {"causal": False, "pooling": "mean"}),
    ("made_every", {"outputs": "classes"}, {"causal": False, "pooling": "ends"}),
    ("made_every", {"outputs": "every"}, {"causal": False}),
    ("made_every", {"outputs": "every", "causal": False}, {"causal": True}),
    ("made_film", {}, {"causal": True, "pooling": "last"}),
    ("made_many", {}, {"causal": False}),
)


@every
@pytest.mark.parametrize(("name", "settings", "changes"), MADE, ids=lambda value: str(value))
def test_a_model_may_read_other_ways_than_the_task_says(
    arch: str,
    name: str,
    settings: dict[str, Any],
    changes: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch)
    read = Read(tmp_path, name, arch, settings, **changes)
    later = read.seen().triu(1)
    assert bool(later.any()) == (not changes["causal"])
    assert (model.state_bytes(read.net) > 0) == changes["causal"]
    batch = batches.training(read.splits.train, 4, 1)(0)
    loss = model.loss(read.net(batch.x, batch.lengths), batch.y, read.spec, read.net.steps(batch.lengths))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in read.net.parameters())
    given: list[Any] = []
    score = read.task.score
    monkeypatch.setattr(read.task, "score", lambda *args: given.append(args) or score(*args))
    found = read.score()
    assert math.isfinite(found[read.spec.metric])
    ((outputs, y, spec),) = given
    assert spec == read.spec and len(outputs) == len(y) == len(read.splits.valid)
    monkeypatch.setattr(evaluate, "BATCH", 3)
    assert read.score() == pytest.approx(found, rel=1e-9)


def test_words_of_a_variant_that_no_model_can_follow_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    for name, changes, words in (
        ("made_stream", {"causal": False}, "a task of a stream reads both ways"),
        ("made_alignment", {"causal": True}, "see later steps"),
    ):
        with pytest.raises(InputError, match=words):
            Read(tmp_path, name, "gru", {}, **changes)


@every
def test_an_encoder_reads_both_ways_whatever_the_spec_says_of_causality(
    arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    read = Read(tmp_path, "made_sequence", arch, {"connection": "none"}, causal=True)
    usual = built(read.prepared.spec, arch).double()
    assert all(torch.equal(*pair) for pair in zip(usual.parameters(), read.net.parameters(), strict=True))
    assert read.spec.kind == read.prepared.spec.kind
    found = read.score()
    read.net = usual
    assert read.score() == found


# ---------------------------------------------------------------- building


@every
def test_build_depends_on_the_seed_alone(arch: str) -> None:
    torch.manual_seed(5)
    first = built(STEPS, arch).state_dict()
    torch.manual_seed(6)
    before = torch.random.get_rng_state()
    again, other = built(STEPS, arch).state_dict(), built(STEPS, arch, seed=2).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["head.linear.weight"], other["head.linear.weight"])
    assert {value.dtype for value in first.values()} == {torch.float32}
    assert {value.device.type for value in first.values()} == {"cpu"}


@every
@every_spec
@both_ways
def test_count_is_every_parameter(arch: str, spec: Spec, causal: bool) -> None:
    made = built(change(spec, causal=causal), arch)
    parts = model.count(made)
    assert parts.embedding == (80 if spec is STEPS else 0)
    assert parts.frontend == 8 * (spec.embedding or spec.input_size) + 8
    assert parts.head == 9 * spec.output_size
    assert parts.embedding + parts.matched == sum(p.numel() for p in made.parameters())


def test_counts_of_cores_by_formula() -> None:
    gates = {"rnn": 1, "gru": 3, "lstm": 4}
    for arch, number in gates.items():
        assert model.count(built(VALUES, arch)).core == number * (8 * 8 + 8 * 8 + 8 + 8)
        assert model.count(built(change(VALUES, causal=False), arch)).core == 2 * number * (4 * 8 + 4 * 4 + 4 + 4)
    norms, attention, feed_forward = 3 * 16, 4 * (8 * 8 + 8), 8 * 32 + 32 + 32 * 8 + 8
    assert model.count(built(VALUES, "transformer")).core == norms + attention + feed_forward


# ---------------------------------------------------------------- one table at both ends, word vectors


TIED = change(STREAM, tied=True)


@every
def test_a_tied_table_gets_gradients_from_both_ends(arch: str) -> None:
    made, x = built(TIED, arch).double().eval(), inputs(TIED).long()
    table = made.table
    assert table is not None
    weight = torch.randn(4, 7, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (whole,) = torch.autograd.grad((made(x) * weight).sum(), table)
    h = made.core(made.frontend(x))
    (first,) = torch.autograd.grad((made.head.logits(h, table.detach()) * weight).sum(), table)
    (last,) = torch.autograd.grad((made.head.logits(h.detach(), table) * weight).sum(), table)
    close(whole, first + last)
    assert first.any() and last.any()
    assert not first[[token for token in range(10) if token not in x]].any()  # by the input: only tokens that it has
    assert last.any(1).all()  # by the output: all tokens


@every
def test_a_tied_table_is_outside_the_budget_at_both_ends(arch: str) -> None:
    made = built(TIED, arch)
    parts = model.count(made)
    assert parts.embedding == 10 * 8
    assert parts.head == 8 * 8 + 8  # to the embedding's columns; not to the tokens
    assert parts.embedding + parts.matched == sum(p.numel() for p in made.parameters())
    sizes = (10, 30_000)
    widths = {
        model.solve_width(change(TIED, input_size=n, output_size=n), arch, archs.defaults(arch), 20_000) for n in sizes
    }
    assert len(widths) == 1


class Vectors:
    """Stands for prepared data that hold word vectors."""

    def __init__(self, **arrays: Any) -> None:
        self.arrays = {name.replace("_", "."): values for name, values in arrays.items()}
        self.manifest = self

    def array(self, name: str) -> Any:
        return self.arrays[name]


def test_word_vectors_are_put_into_their_rows() -> None:
    made = built(STEPS)
    before = made.state_dict()["frontend.embedding.weight"].clone()
    values = np.arange(16, dtype=np.float32).reshape(2, 8)
    model.load_pretrained(made, Vectors(embedding_rows=np.array([7, 2]), embedding_values=values))  # type: ignore[arg-type]
    table = made.state_dict()["frontend.embedding.weight"]
    assert np.array_equal(table[[7, 2]], values)
    others = [row for row in range(10) if row not in (7, 2)]
    assert torch.equal(table[others], before[others])
    assert made.table is not None and made.table.requires_grad


@pytest.mark.parametrize("spec", [STEPS, VALUES], ids=["without vectors", "without a table"])
def test_without_word_vectors_nothing_changes(spec: Spec) -> None:
    made = built(spec)
    before = {name: values.clone() for name, values in made.state_dict().items()}
    data = Vectors() if spec is STEPS else Vectors(embedding_rows=np.array([1]), embedding_values=np.ones((1, 8)))
    model.load_pretrained(made, data)  # type: ignore[arg-type]
    assert all(torch.equal(values, before[name]) for name, values in made.state_dict().items())


# ---------------------------------------------------------------- the width for a budget


@every
@both_ways
@pytest.mark.parametrize("layers", [1, 2])
def test_width_is_the_nearest_and_within_five_percent(arch: str, causal: bool, layers: int) -> None:
    settings = archs.defaults(arch)
    settings |= {"layers": layers} if "layers" in settings else {}
    refused = []
    for number, budget in enumerate((3_000, 6_000, 10_000, 20_000, 50_000, 100_000, 1_000_000)):
        spec = change(list(SPECS.values())[number % 3], causal=causal)
        try:
            width = model.solve_width(spec, arch, settings, budget)
        except InputError as error:
            assert "5 %" in error.what
            refused.append(budget)
            continue
        found = distance(spec, arch, settings, width, budget)
        assert found <= 0.05
        for other in (width - 2, width - 1, width + 1, width + 2):
            if causal or other % 2 == 0:
                assert found <= distance(spec, arch, settings, other, budget)
    # Few parameters leave few widths: two neighbours of width w are about 2 / w apart, both ways 4 / w.
    assert all(budget <= (3_000 if causal else 10_000) for budget in refused)


def distance(spec: Spec, arch: str, settings: dict[str, Any], width: int, budget: int) -> float:
    with torch.device("meta"):
        parameters = model.count(model.Model(spec, arch, settings, width)).matched
    return abs(parameters - budget) / budget


def test_embedding_tables_are_outside_the_budget() -> None:
    widths = {model.solve_width(change(STEPS, input_size=n), "gru", archs.defaults("gru"), 20_000) for n in (5, 50_000)}
    assert len(widths) == 1


def test_solving_leaves_the_generator_alone() -> None:
    before = torch.random.get_rng_state()
    model.solve_width(STEPS, "lstm", archs.defaults("lstm"), 20_000)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_impossible_budget_says_what_is_possible() -> None:
    with pytest.raises(InputError) as caught:
        model.solve_width(STEPS, "lstm", archs.defaults("lstm"), 2)
    smallest = model.count(built(STEPS, "lstm", width=1)).matched
    assert caught.value.where == "architecture lstm, parameters = 2"
    assert f"set {smallest}" in caught.value.fix
    assert model.solve_width(STEPS, "lstm", archs.defaults("lstm"), smallest) == 1


# ---------------------------------------------------------------- loss, state, kernel


def test_loss_of_classes_by_hand() -> None:
    outputs = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]])
    spec = change(CLASSES, output_size=2)
    expected = (math.log(4 / 3) + math.log(2)) / 2
    assert model.loss(outputs, torch.tensor([1, 0], dtype=torch.uint8), spec).item() == pytest.approx(expected)


def test_loss_of_steps_by_hand() -> None:
    outputs = torch.tensor([[[0.0, math.log(3.0)], [0.0, 0.0]], [[math.log(7.0), 0.0], [0.0, 0.0]]])
    spec = change(STEPS, output_size=2, window=2)
    expected = (math.log(4 / 3) + math.log(2) + math.log(8) + math.log(2)) / 4
    assert model.loss(outputs, torch.tensor([[1, 0], [1, 1]]), spec).item() == pytest.approx(expected)


@pytest.mark.parametrize("y", [[1.0, 5.0], [[1.0], [5.0]]])
def test_loss_of_values_by_hand(y: Any) -> None:
    outputs = torch.tensor([[2.0], [3.0]])
    assert model.loss(outputs, torch.tensor(y, dtype=torch.float64), VALUES).item() == pytest.approx((1 + 4) / 2)


@pytest.mark.parametrize("kind", [torch.int64, torch.int8], ids=str)
def test_unscored_labels_add_nothing_to_loss_or_gradient(kind: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(3, 7, 10, generator=generator, dtype=torch.float64).requires_grad_()
    y = torch.randint(10, (3, 7), generator=generator)
    y[0, 2:], y[2] = UNSCORED, UNSCORED
    found = model.loss(outputs, y.to(kind), STREAM)
    scored = y != UNSCORED
    expected = -log_softmax(outputs.detach().numpy(), axis=-1)[scored, y[scored]].mean()
    assert found.item() == pytest.approx(expected, rel=1e-12)
    (gradient,) = torch.autograd.grad(found, outputs)
    assert not gradient[~scored].any()
    assert gradient[scored].any(-1).all()


def test_labels_are_the_log_probabilities_of_scipy() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = 30 * torch.randn(3, 7, 10, generator=generator, dtype=torch.float64)
    y = torch.randint(10, (3, 7), generator=generator)
    y[1] = outputs[1].argmax(-1)
    chances = log_softmax(outputs.numpy(), axis=-1)
    found = model.labels(outputs, y).numpy()
    np.testing.assert_allclose(
        found[..., 0], -np.take_along_axis(chances, y.numpy()[..., None], -1)[..., 0], 1e-12, 1e-12
    )
    assert np.array_equal(found[..., 1], chances.argmax(-1) == y.numpy())
    assert found[1, :, 1].all() and not found[..., 1].all()
    scored = y.clone()
    scored[0] = UNSCORED
    assert np.array_equal(model.labels(outputs, scored.to(torch.int8))[1:], found[1:])  # the others as before


@every
def test_a_step_of_training_lowers_the_loss(arch: str) -> None:
    made, x = built(CLASSES, arch), inputs(CLASSES)
    y = torch.tensor([1, 2, 3, 4])
    before = model.loss(made(x), y, CLASSES)
    before.backward()
    torch.optim.SGD(made.parameters(), lr=0.01).step()
    assert model.loss(made(x), y, CLASSES) < before


@pytest.mark.parametrize(
    ("arch", "numbers"), [("rnn", 8), ("gru", 8), ("lstm", 16), ("transformer", 2 * 7 * 8)], ids=str
)
def test_bytes_of_the_state(arch: str, numbers: int) -> None:
    made = built(VALUES, arch, layers=3, dropout=0.5)
    before = torch.random.get_rng_state()
    assert model.state_bytes(made) == 3 * numbers * 4
    assert made.training
    assert torch.equal(torch.random.get_rng_state(), before)


def test_no_stream_no_state() -> None:
    spec = change(VALUES, causal=False)
    assert model.state_bytes(built(spec)) == 0


def test_the_kernels_named_are_those_that_run() -> None:
    def ran(arch: str) -> str:
        made, x = built(VALUES, arch), inputs(VALUES)
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            made(x).sum().backward()
        return " ".join(event.key for event in profiled.key_averages())

    words = model.kernel("cpu")
    assert ("nn.LSTM: oneDNN" in words) == ("mkldnn_rnn_layer" in ran("lstm"))
    assert "attention: scaled_dot_product_attention, ATen flash kernel" in words
    assert "flash_attention_for_cpu_backward" in ran("transformer")
    assert "nn.RNN, nn.GRU: ATen" in words
    assert "aten::gru" in ran("gru")
    assert "aten::rnn_tanh" in ran("rnn")
    assert "cuDNN" in model.kernel("cuda")


# ---------------------------------------------------------------- a person's own architecture


def test_an_own_architecture_in_under_40_lines(own: Any) -> None:
    assert CONVOLUTION.count("\n") < 40
    arch = own("own_convolution", CONVOLUTION)
    assert archs.names() == [arch]
    width = model.solve_width(VALUES, arch, {"taps": 3}, 20_000)
    assert distance(VALUES, arch, {"taps": 3}, width, 20_000) < 0.05
    test_streaming_equals_the_whole_sequence(arch, VALUES)
    for causal in (True, False):
        test_an_item_alone_equals_the_item_in_a_padded_batch(arch, causal, "mean")
    assert model.state_bytes(built(VALUES, arch)) == 2 * 8 * 4


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("own_shape", "def forward(self, x, lengths=None): return x[:, -1]", r"Core.forward returned shape \(4, 8\)"),
        ("own_tuple", "def forward(self, x, lengths=None): return x, None", "Core.forward returned a tuple"),
        ("own_none", "def forward(self, x, lengths=None): pass", "Core.forward returned a NoneType"),
        ("own_raising", "def __init__(self, width, **k): raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("own_setting", "def __init__(self, width, *, length, causal, depth): pass", "missing 1 required .*'depth'"),
        ("own_value", "def __init__(self, width, **k): raise ValueError('nothing fits')", "nothing fits"),
    ],
    ids=lambda text: text if text.startswith("own_") else "",
)
def test_a_broken_architecture_is_named(own: Any, name: str, body: str, message: str) -> None:
    constructor = "" if "__init__" in body else "    def __init__(self, width, **k): super().__init__()\n"
    own(name, f"import torch\nVERSION = 1\nSETTINGS = {{}}\nclass Core(torch.nn.Module):\n{constructor}    {body}\n")
    with pytest.raises(InputError, match=message) as caught:
        built(VALUES, name)(inputs(VALUES))
    assert caught.value.where.endswith(f"{name}.py")
    if "__init__" in body:
        with pytest.raises(InputError, match=message):
            model.solve_width(VALUES, name, {}, 1000)


def test_a_missing_or_wrong_step_is_named(own: Any) -> None:
    start = "import torch\nVERSION = 1\nSETTINGS = {}\nclass Core(torch.nn.Module):\n"
    start += "    def __init__(self, width, **k): super().__init__()\n"
    for name, body, message in (
        ("own_stepless", "", "Core.step failed"),
        ("own_step", "    def step(self, x_t, state): return x_t[0], state\n", r"Core.step returned shape \(8,\)"),
    ):
        own(name, start + body)
        with pytest.raises(InputError, match=message):
            built(VALUES, name).step(inputs(VALUES)[:, 0])


def test_widths_may_come_in_multiples(own: Any) -> None:
    check = "        if width % 5: raise ValueError('not a multiple of 5')\n        super().__init__()"
    arch = own("own_multiples", CONVOLUTION.replace("        super().__init__()", check))
    width = model.solve_width(VALUES, arch, {"taps": 3}, 50_000)
    assert width % 5 == 0
    assert distance(VALUES, arch, {"taps": 3}, width, 50_000) < 0.05


# ---------------------------------------------------------------- losses of alignments and of many labels


def test_the_loss_of_an_alignment_is_the_sum_over_all_paths() -> None:
    spec = Spec(
        **{"inputs": "values", "input_size": 2, "outputs": "ctc", "output_size": 3, "length": 4, "target_length": 2},
        **{"metric": "wer", "direction": "min", "causal": False},
    )
    outputs = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y, steps = torch.tensor([[1, 1], [2, UNSCORED]]), torch.tensor([4, 3])
    chances = torch.softmax(outputs, dim=2)
    expected = []
    for item, labels in enumerate(([1, 1], [2])):
        total = 0.0
        for path in itertools.product(range(3), repeat=int(steps[item])):
            if [label for label, _ in itertools.groupby(path) if label] == labels:
                total += math.prod(float(chances[item, t, label]) for t, label in enumerate(path))
        expected.append(-math.log(total))
    found = model.alignment(outputs, y, steps)
    assert found.tolist() == pytest.approx(expected)
    assert float(model.loss(outputs, y, spec, steps)) == pytest.approx(sum(expected) / 3)  # three labels in all
    too_few = model.alignment(outputs[:1], y[:1], torch.tensor([2]))
    assert float(too_few) == math.inf  # two equal labels need a blank between


def test_the_loss_of_many_labels_by_hand() -> None:
    spec = Spec(
        **{"inputs": "values", "input_size": 2, "outputs": "multilabel", "output_size": 2, "length": 2},
        **{"metric": "nll", "direction": "min"},
    )
    outputs = torch.tensor([[[0.0, 2.0], [3.0, -1.0]], [[1.0, 1.0], [9.0, 9.0]]])
    y = torch.tensor([[[1, 1], [0, 0]], [[0, 1], [UNSCORED, UNSCORED]]], dtype=torch.int8)

    def bce(logit: float, label: int) -> float:
        return math.log1p(math.exp(-logit if label else logit))

    steps = [bce(0, 1) + bce(2, 1), bce(3, 0) + bce(-1, 0), bce(1, 0) + bce(1, 1)]
    assert float(model.loss(outputs, y, spec)) == pytest.approx(sum(steps) / 3)
    many = model.many(outputs, y)
    assert many[0, :, 0].tolist() == pytest.approx(steps[:2])
    assert many[0, :, 1:].tolist() == [[1, 2, 1], [1, 0, 0]]


def test_the_blank_begins_ahead() -> None:
    spec = Spec(
        **{"inputs": "values", "input_size": 2, "outputs": "ctc", "output_size": 3, "length": 4, "target_length": 2},
        **{"metric": "wer", "direction": "min", "causal": False},
    )
    plain = built(change(spec, outputs="every"))
    ahead = built(spec)
    expected = plain.head.linear.bias.detach().clone()
    expected[0] += 5.0
    assert torch.equal(ahead.head.linear.bias, expected)
