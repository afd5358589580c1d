"""Every label is scored once, whatever the batches; samples say what the model says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from synthetic import ARCHS, LETTERS, add_own, install, prepare, spell

from seqbench import archs, decode, evaluate, model, tasks
from seqbench.batches import OnDevice, Splits
from seqbench.prepared import Array
from seqbench.records import UNSCORED

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
every = pytest.mark.parametrize("arch", ARCHS)
CONNECTIONS = ("none", "additive", "attention")


@pytest.fixture(autouse=True)
def with_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    (tmp_path / "archs").mkdir()
    add_own(tmp_path / "archs", monkeypatch)


class Case:
    """A task, its test split, and an untrained model in float64 that is sure of what it says."""

    def __init__(self, root: Path, name: str, arch: str, **settings: Any) -> None:
        self.prepared = prepare(name, root, **settings)
        self.task = tasks.build(name, self.prepared.manifest.settings)
        self.data = Splits(self.prepared, CPU).read_test()
        self.net: Any = model.build(self.prepared.spec, arch, archs.defaults(arch), 6, seed=1).double()
        with torch.no_grad():
            for parameter in self.net.parameters():
                if parameter.ndim > 1:
                    parameter *= 2

    def metrics(self, final: bool = False) -> dict[str, float]:
        return evaluate.evaluate(self.net, self.task, self.data, self.prepared, final)

    def outputs(self, monkeypatch: pytest.MonkeyPatch) -> Array:
        """What `score` is given; all labels with it."""
        given: list[Any] = []
        with monkeypatch.context() as patch:
            patch.setattr(self.task, "score", lambda *args: given.append(args) or {})
            self.metrics()
        ((outputs, y, spec),) = given
        assert np.array_equal(y, self.data.y.numpy()) and spec == self.net.spec
        return np.asarray(outputs)

    @torch.no_grad()
    def logits(self, *args: Any) -> Array:
        self.net.eval()
        found: Array = self.net(*args).numpy()
        return found


def of_labels(logits: Array, y: Array) -> Array:
    """(..., 2) of the labels y, by scipy."""
    loss = -np.take_along_axis(log_softmax(logits, axis=-1), np.maximum(y, 0)[..., None], -1)[..., 0]
    return np.stack((loss, logits.argmax(-1) == y), axis=-1)


def same(found: dict[str, float], expected: dict[str, float]) -> None:
    assert found == pytest.approx(expected, rel=1e-6)


# ---------------------------------------------------------------- items


@every
@pytest.mark.parametrize("causal", [True, False])
def test_every_label_of_items_is_scored_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: str, causal: bool
) -> None:
    case = Case(tmp_path, "made_every", arch, causal=causal)
    x, y, lengths = case.data.x, case.data.y.numpy(), case.data.lengths
    assert lengths is not None
    found = case.outputs(monkeypatch)
    assert found.shape == (41, 9, 2)
    losses, right = [], []
    for item, length in enumerate(lengths.tolist()):
        expected = of_labels(case.logits(x[item : item + 1, :length])[0], y[item, :length])
        scored = y[item] != UNSCORED
        assert not scored[length:].any()
        np.testing.assert_allclose(found[item, scored], expected[scored[:length]], rtol=1e-9, atol=1e-12)
        losses += expected[scored[:length], 0].tolist()
        right += expected[scored[:length], 1].tolist()
    same(
        case.metrics(),
        {"accuracy": np.mean(right), "cross_entropy": np.mean(losses), "perplexity": math.exp(np.mean(losses))},
    )


@every
def test_outputs_of_items_come_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: str) -> None:
    case = Case(tmp_path, "made_every", arch, outputs="classes")
    monkeypatch.setattr(evaluate, "BATCH", 7)
    found = case.outputs(monkeypatch)
    assert case.data.lengths is not None
    for item, length in enumerate(case.data.lengths.tolist()):
        np.testing.assert_allclose(found[item], case.logits(case.data.x[item : item + 1, :length])[0], rtol=1e-9)


# ---------------------------------------------------------------- streams


def windows(case: Case) -> Array:
    """Of a core that carries no state: each label by the first window that holds it, windows half a length apart."""
    steps, length = len(case.data), min(case.net.spec.length, len(case.data))
    found = np.full((steps, 2), np.nan)
    starts = [*range(0, steps - length, max(length // 2, 1)), steps - length]
    for start in starts:
        x, y = case.data.x[start : start + length], case.data.y[start : start + length].numpy()
        for i, of_one in enumerate(of_labels(case.logits(x[None])[0], y)):
            if np.isnan(found[start + i]).all():
                assert start == 0 or i >= length // 2  # at least half a window has been read before
                found[start + i] = of_one
    assert not np.isnan(found).any()
    return found


@every
@pytest.mark.parametrize("length", [1, 5, 6, 200])
def test_every_label_of_a_stream_is_scored_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: str, length: int
) -> None:
    case = Case(tmp_path, "made_stream", arch, length=length)
    found = case.outputs(monkeypatch)
    if hasattr(case.net.core, "carry"):
        expected = of_labels(case.logits(case.data.x[None])[0], case.data.y.numpy())
    else:
        expected = windows(case)
    assert found.shape == (101, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    loss = float(np.mean(expected[:, 0]))
    same(
        case.metrics(),
        {"accuracy": np.mean(expected[:, 1]), "cross_entropy": loss, "perplexity": math.exp(loss)},
    )


@pytest.mark.parametrize("steps", [1, 6, 7, 9, 10])
def test_short_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    case = Case(tmp_path, "made_stream", "transformer", length=6, test=steps)
    np.testing.assert_allclose(case.outputs(monkeypatch), windows(case), rtol=1e-5, atol=1e-7)


# ---------------------------------------------------------------- sequences


@every
@pytest.mark.parametrize("connection", CONNECTIONS)
def test_scores_of_sequences(tmp_path: Path, arch: str, connection: str) -> None:
    case = Case(tmp_path, "made_sequence", arch, connection=connection, test=12)
    assert set(case.metrics()) == {"cross_entropy"}  # writing is dear
    references, texts = evaluate.references_of(case.data), dict[str, list[str]](beam=[], greedy=[])
    losses: list[float] = []
    case.net.eval()
    for item in range(12):
        x, y, lengths, _ = case.data.rows(torch.tensor([item]))
        assert references[item] == "".join(spell(y[0].numpy())) and lengths is not None
        losses += of_labels(case.logits(x, lengths, y)[0], y[0].numpy())[:, 0].tolist()
        ways = {"beam": decode.beam(case.net, x, lengths, evaluate.BEAM), "greedy": decode.greedy(case.net, x, lengths)}
        for way, written in ways.items():
            texts[way].append("".join(spell(written[0].numpy())))
    assert len(losses) == int((case.data.y != UNSCORED).sum())
    right = {way: np.mean([a == b for a, b in zip(texts[way], references, strict=True)]) for way in texts}
    expected = {"cross_entropy": np.mean(losses), "exact": right["beam"], "exact_greedy": right["greedy"]}
    same(case.metrics(final=True), expected)


def test_written_texts_meet_their_own_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that is always right scores 1, in whatever order it is asked."""
    case = Case(tmp_path, "made_sequence", "gru")
    answers = {tuple(row.tolist()): y for row, y in zip(case.data.x, case.data.y, strict=True)}

    def know(_: Any, x: torch.Tensor, lengths: torch.Tensor, *__: Any) -> torch.Tensor:
        return torch.stack([answers[(*row.tolist(), *[0] * (6 - len(row)))] for row in x])

    monkeypatch.setattr(decode, "beam", know)
    monkeypatch.setattr(evaluate, "BATCH", 7)
    found = case.metrics(final=True)
    assert found["exact"] == 1.0 and found["exact_greedy"] < 1.0


def test_a_metric_that_selects_is_computed_at_each_look(tmp_path: Path) -> None:
    case = Case(tmp_path, "made_sequence", "gru", selection="metric", test=5)
    assert case.net.spec.watched == ("exact", "max")
    assert case.metrics() == case.metrics(final=True)


# ---------------------------------------------------------------- labels for each step, and alignments


@every
def test_every_step_of_labels_is_scored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: str) -> None:
    case = Case(tmp_path, "made_many", arch)
    found = case.outputs(monkeypatch)
    assert found.shape == (41, 9, 4)
    assert case.data.lengths is not None
    losses, said, asked, both = [], 0, 0, 0
    for item, length in enumerate(case.data.lengths.tolist()):
        logits = case.logits(case.data.x[item : item + 1, :length])[0]
        y = case.data.y[item, :length].numpy()
        losses += np.logaddexp(0, np.where(y == 1, -logits, logits)).sum(axis=1).tolist()
        said, asked, both = said + (logits > 0).sum(), asked + (y == 1).sum(), both + ((logits > 0) & (y == 1)).sum()
    assert 0 < both < said
    same(
        case.metrics(),
        {"nll": np.mean(losses), "f1": 2 * both / (said + asked), "accuracy": both / (said + asked - both)},
    )


def test_of_no_note_said_or_asked_f1_is_nothing(tmp_path: Path) -> None:
    case = Case(tmp_path, "made_many", "rnn")
    silent = case.task.score(np.array([[[1.0, 0, 0, 0]]]), np.zeros((1, 1, 4)), case.net.spec)
    assert silent == {"nll": 1.0, "f1": 0.0, "accuracy": 0.0}


@every
def test_alignments_are_scored_as_texts_and_by_label(tmp_path: Path, arch: str) -> None:
    case = Case(tmp_path, "made_alignment", arch, test=12)
    assert case.data.lengths is not None
    references = evaluate.references_of(case.data)
    loss, labels, hits = 0.0, 0, {"beam": 0, "greedy": 0}
    for item, length in enumerate(case.data.lengths.tolist()):
        outputs = torch.from_numpy(case.logits(case.data.x[item : item + 1, :length]))
        target = [label for label in case.data.y[item].tolist() if label != UNSCORED]
        chances = torch.log_softmax(outputs, dim=2).transpose(0, 1)
        steps, size = torch.tensor([outputs.shape[1]]), torch.tensor([len(target)])
        loss += float(torch.nn.functional.ctc_loss(chances, torch.tensor([target]), steps, size, reduction="sum"))
        labels += len(target)
        for way, written in (
            ("beam", decode.prefix_beam(outputs, None, evaluate.BEAM)),
            ("greedy", decode.best_path(outputs, None)),
        ):
            hits[way] += case.task.decode(np.array(written[0]), case.prepared) == references[item]
    assert case.metrics() == pytest.approx({"cross_entropy": loss / labels}, rel=1e-6)
    expected = {"cross_entropy": loss / labels, "exact": hits["beam"] / 12, "exact_greedy": hits["greedy"] / 12}
    same(case.metrics(final=True), expected)


def test_samples_of_alignments_and_of_labels(tmp_path: Path) -> None:
    case = Case(tmp_path, "made_alignment", "gru", test=12)
    found = evaluate.samples(case.net, case.task, case.data, case.prepared, 1)
    assert [one.reference for one in found] == evaluate.references_of(case.data)[: evaluate.SAMPLES]
    outputs = torch.from_numpy(case.logits(case.data.x, case.data.lengths))
    written = decode.prefix_beam(outputs, case.net.steps(case.data.lengths), evaluate.BEAM)
    assert [one.output for one in found] == [
        case.task.decode(np.array(labels), case.prepared) for labels in written[: evaluate.SAMPLES]
    ]
    case = Case(tmp_path / "many", "made_many", "gru")
    (played,) = evaluate.samples(case.net, case.task, case.data, case.prepared, 1)
    assert case.data.lengths is not None
    whole = case.task.decode(case.data.x[0, : int(case.data.lengths[0])].numpy(), case.prepared)
    assert whole == "|".join(filter(None, (played.source, played.reference)))
    assert len(played.output.split("|")) == evaluate.PLAYED
    assert evaluate.samples(case.net, case.task, case.data, case.prepared, 2)[0].output != played.output


# ---------------------------------------------------------------- batches and modes

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "every": ("made_every", {"causal": False}),
    "classes": ("made_every", {"outputs": "classes"}),
    "stream": ("made_stream", {}),
    "sequence": ("made_sequence", {"test": 12}),
    "ctc": ("made_alignment", {"test": 12}),
    "multilabel": ("made_many", {}),
    "frames": ("made_film", {"test": 12}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def case_of(root: Path, kind: str, arch: str, **settings: Any) -> Case:
    name, given = KINDS[kind]
    return Case(root, name, arch, **given | settings)


@pytest.mark.parametrize("arch", ["lstm", "transformer", "own_convolution"])
@every_kind
def test_no_size_of_batches_changes_a_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: str, kind: str
) -> None:
    case = case_of(tmp_path, kind, arch)
    expected = case.metrics(final=True)
    for name, value in (
        ("BATCH", 1),
        ("BATCH", 7),
        ("CHUNK", 1),
        ("CHUNK", 13),
        ("STEPS", 20),
        ("LARGEST", 1),
        ("LARGEST", 200),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(evaluate, name, value)
            same(case.metrics(final=True), expected)


@every_kind
def test_batches_hold_every_item_once_and_few_logits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    case = case_of(tmp_path, kind, "gru")
    spec = case.net.spec
    monkeypatch.setattr(evaluate, "LARGEST", 400)
    chunks = list(evaluate._chunks(case.data))
    assert sorted(torch.cat(chunks).tolist()) == list(range(len(case.data)))
    for chunk in chunks:
        longest = spec.length if case.data.lengths is None else int(case.data.lengths[chunk].max())
        steps = {"every": longest, "sequence": 7, "ctc": longest, "multilabel": longest}.get(kind, 0)
        numbers = longest * 256 if kind == "frames" else steps * spec.output_size
        assert len(chunk) == 1 or len(chunk) * numbers <= 400
    if kind in ("stream", "classes"):
        assert len(chunks) == 1
    monkeypatch.setattr(evaluate, "STEPS", 20)
    monkeypatch.setattr(evaluate, "LARGEST", 1 << 26)
    for chunk in evaluate._chunks(case.data):
        if case.data.lengths is not None:
            assert len(chunk) == 1 or len(chunk) * int(case.data.lengths[chunk].max()) <= 20


@every_kind
def test_evaluation_leaves_a_model_in_training_and_the_generator_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    case = case_of(tmp_path, kind, "lstm", **({"test": 4} if kind == "sequence" else {}))
    case.net.train()
    before, weights = torch.random.get_rng_state(), [p.clone() for p in case.net.parameters()]
    case.metrics(final=True)
    evaluate.samples(case.net, case.task, case.data, case.prepared, 1)
    assert case.net.training and all(part.training for part in case.net.modules())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(p, w) and p.grad is None for p, w in zip(case.net.parameters(), weights, strict=True))

    def fail(*_: Any) -> None:
        assert not case.net.training
        raise KeyError

    monkeypatch.setattr(OnDevice, "rows", fail)
    monkeypatch.setattr(model.Model, "carry", fail)
    with pytest.raises(KeyError):
        case.metrics()
    assert case.net.training


# ---------------------------------------------------------------- samples


@every
@pytest.mark.parametrize("connection", CONNECTIONS)
def test_samples_of_sequences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: str, connection: str) -> None:
    case = Case(tmp_path, "made_sequence", arch, connection=connection, test=5)
    found = evaluate.samples(case.net, case.task, case.data, case.prepared, 1)
    assert len(found) == evaluate.SAMPLES
    case.net.eval()
    for item, sample in enumerate(found):
        x, y, lengths, _ = case.data.rows(torch.tensor([item]))
        assert lengths is not None
        written = decode.beam(case.net, x, lengths, evaluate.BEAM)[0]
        said = written[written != UNSCORED].numpy()
        assert sample.source == "".join(spell(x[0].numpy())) == sample.reference[::-1]
        assert sample.reference == "".join(spell(y[0].numpy()))
        assert sample.output == "".join(spell(said))
        assert sample.source_tokens == tuple(sample.source) and set(sample.source) <= set(LETTERS)
        assert sample.output_tokens == case.task.pieces(said, case.prepared)
        shape = (len(sample.output_tokens), len(sample.source_tokens)) if connection != "none" else (0,)
        assert np.shape(sample.attention) == shape
        assert all(sum(row) == pytest.approx(1.0, abs=0.005 * len(row)) for row in sample.attention)
    monkeypatch.setattr(evaluate, "BATCH", 1)
    assert evaluate.samples(case.net, case.task, case.data, case.prepared, 2) == found  # no seed in it


@every
def test_samples_of_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: str) -> None:
    case = Case(tmp_path, "made_stream", arch, test=80)
    monkeypatch.setattr(evaluate, "CONTINUATION", 40)
    (found,) = evaluate.samples(case.net, case.task, case.data, case.prepared, 1)
    text = "".join(map(str, case.data.x.tolist()))
    assert found.source == text[:20] and found.reference == text[20:60]
    assert len(found.output) == 40 and set(found.output) <= set("0123456")
    assert found.attention == ()
    monkeypatch.setattr(evaluate, "BATCH", 1)
    monkeypatch.setattr(evaluate, "CHUNK", 1)
    torch.manual_seed(99)
    assert evaluate.samples(case.net, case.task, case.data, case.prepared, 1) == (found,)
    (other,) = evaluate.samples(case.net, case.task, case.data, case.prepared, 2)
    assert other.output != found.output


def test_no_samples_of_classes_and_no_more_than_there_are(tmp_path: Path) -> None:
    case = case_of(tmp_path, "classes", "gru")
    assert evaluate.samples(case.net, case.task, case.data, case.prepared, 1) == ()
    few = Case(tmp_path, "made_sequence", "gru", test=2)
    assert len(evaluate.samples(few.net, few.task, few.data, few.prepared, 1)) == 2
