"""Writing: sampling, greedy and beam search, each compared with the plainest way of doing the same.

The plain ways read all that is written again for each token, one sentence at a time, in float64.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from synthetic import ARCHS, add_own
from torch import Tensor

from seqbench import archs, decode, model
from seqbench.records import BEGIN, END, PAD, UNSCORED, Spec
from seqbench.seq2seq import Seq2Seq

pytestmark = pytest.mark.usefixtures("one_thread")

SPEC = Spec(
    inputs="tokens",
    input_size=7,
    outputs="sequence",
    output_size=7,
    length=6,
    target_length=6,
    metric="exact",
    direction="max",
    selection="cross_entropy",
    causal=False,
    embedding=4,
)
STREAM = Spec(
    inputs="tokens",
    input_size=7,
    outputs="stream",
    output_size=7,
    length=6,
    metric="perplexity",
    direction="min",
    embedding=4,
)
SAYABLE = (1, END, 4, 5, 6)
LENGTHS = torch.tensor([6, 1, 3, 5, 2, 6])
every = pytest.mark.parametrize("arch", ARCHS)
connected = pytest.mark.parametrize("connection", ["none", "additive", "attention"])

Written = tuple[int, ...]


@pytest.fixture(autouse=True)
def with_an_own_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_own(tmp_path, monkeypatch)


def built(spec: Spec, arch: str, seed: int) -> Any:
    """In float64; its weights are large, so that it is as sure of its tokens as a trained one."""
    net = model.build(spec, arch, archs.defaults(arch), 6, seed).double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim > 1:
                parameter *= 3
    return net


def writer(arch: str, connection: str = "attention", limit: int = 6) -> Seq2Seq:
    """A model that ends at a third of all places, of differing sentences at differing ones."""
    net = built(SPEC.model_copy(update={"connection": connection, "target_length": limit}), arch, seed=1)
    y = torch.randint(4, 7, (6, limit), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = net(sources(), LENGTHS, y)
        net.head.linear.bias[END] += (logits[..., [1, 4, 5, 6]].amax(-1) - logits[..., END]).quantile(1 / 3)
    assert isinstance(net, Seq2Seq)
    return net


def sources() -> Tensor:
    """Six sentences; their padding is no PAD."""
    return torch.randint(4, 7, (6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def alone(x: Tensor, item: int) -> Tensor:
    return x[item : item + 1, : LENGTHS[item]]


def said(row: Tensor) -> Written:
    return tuple(row[row != UNSCORED].tolist())


@torch.no_grad()
def chances(net: Seq2Seq, x: Tensor, texts: Sequence[Written]) -> Tensor:
    """(texts, longest, tokens): log probabilities at each place of each text, what is never written left out."""
    y = torch.nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], True, UNSCORED)
    logits = net(x.expand(len(y), -1), torch.tensor([x.shape[1]]).expand(len(y)), y)
    logits[..., [PAD, BEGIN]] = -math.inf
    return torch.log_softmax(logits, dim=-1)


def after(net: Seq2Seq, x: Tensor, texts: Sequence[Written]) -> list[list[float]]:
    """Log probabilities of the token after each of these texts of one length."""
    found: list[list[float]] = chances(net, x, [(*text, PAD) for text in texts])[:, -1].tolist()
    return found


def scores(net: Seq2Seq, x: Tensor, texts: Sequence[Written]) -> dict[Written, float]:
    """Log probability of each text."""
    found = chances(net, x, texts)
    return {text: sum(float(found[i, t, token]) for t, token in enumerate(text)) for i, text in enumerate(texts)}


def plain_greedy(net: Seq2Seq, x: Tensor) -> Written:
    written: Written = ()
    while len(written) < net.spec.target_length and END not in written:
        now = after(net, x, [written])[0]
        written += (max(SAYABLE, key=now.__getitem__),)
    return written


def plain_beam(net: Seq2Seq, x: Tensor, width: int, penalty: float) -> Written:
    """`decode.beam` as its docstring says it, in lists."""
    living: list[tuple[float, Written]] = [(0.0, ())]
    ended: list[tuple[float, Written]] = []
    for t in range(1, net.spec.target_length + 1):
        longer = []
        for (total, written), now in zip(living, after(net, x, [text for _, text in living]), strict=True):
            ended.append(((total + now[END]) / t**penalty, (*written, END)))
            longer += [(total + now[token], (*written, token)) for token in SAYABLE if token != END]
        living = sorted(longer, reverse=True)[:width]
        if max(ended)[0] >= living[0][0] / t**penalty:
            return max(ended)[1]
    return living[0][1]


def same(found: Tensor, expected: list[Written]) -> None:
    assert [said(row) for row in found] == expected


# ---------------------------------------------------------------- greedy


@every
@connected
def test_greedy_is_the_plain_loop(arch: str, connection: str) -> None:
    net, x = writer(arch, connection), sources()
    same(decode.greedy(net, x, LENGTHS), [plain_greedy(net, alone(x, item)) for item in range(6)])


def test_greedy_sentences_end_early_late_and_not_at_all() -> None:
    """The tests here see every way to end."""
    found = [said(row) for arch in ARCHS for row in decode.greedy(writer(arch), sources(), LENGTHS)]
    assert {len(text) for text in found if text[-1] == END} >= {1, 2, 4, 5, 6}
    assert any(text[-1] != END for text in found)
    assert len(set(found)) > 10


# ---------------------------------------------------------------- beam search


@every
@pytest.mark.parametrize(("width", "penalty"), [(1, 1.0), (2, 0.0), (3, 1.0), (5, 0.6)])
def test_beam_is_the_plain_search(arch: str, width: int, penalty: float) -> None:
    net, x = writer(arch), sources()
    expected = [plain_beam(net, alone(x, item), width, penalty) for item in range(0, 6, 2)]
    same(decode.beam(net, x, LENGTHS, width, penalty)[::2], expected)


@pytest.mark.parametrize("arch", ["gru", "transformer"])
def test_a_wide_beam_finds_the_likeliest_of_all(arch: str) -> None:
    """With 4 tokens beside END and a limit of 3, 64 hypotheses are all there are."""
    net, x = writer(arch, limit=3), sources()
    found = decode.beam(net, x, LENGTHS, 64, penalty=0.0)
    texts = [(*t, END) for n in range(3) for t in itertools.product((1, 4, 5, 6), repeat=n)]
    texts += itertools.product((1, 4, 5, 6), repeat=3)
    for item in range(6):
        of_all = scores(net, alone(x, item), texts)
        assert said(found[item]) == max(texts, key=of_all.__getitem__)
        assert sum(map(math.exp, of_all.values())) == pytest.approx(1.0)  # they are all


@every
def test_a_beam_of_one_is_greedy_unless_an_earlier_end_is_likelier(arch: str) -> None:
    """An ended hypothesis takes no place in the beam, so one that greedy search passes by is remembered."""
    net, x = writer(arch), sources()
    greedy = [said(row) for row in decode.greedy(net, x, LENGTHS)]
    beam = [said(row) for row in decode.beam(net, x, LENGTHS, 1, penalty=0.0)]
    for item, (one, other) in enumerate(zip(greedy, beam, strict=True)):
        earlier = [(*one[:t], END) for t in range(len(one) - 1)]
        of_all = scores(net, alone(x, item), [one, *earlier, other])
        assert (one == other) == all(of_all[text] < of_all[one] for text in earlier)
        assert of_all[other] >= of_all[one] - 1e-9


@every
@connected
@pytest.mark.parametrize("way", ["greedy", "beam"])
def test_other_sentences_and_padding_change_nothing(arch: str, connection: str, way: str) -> None:
    def write(x: Tensor, lengths: Tensor) -> list[Written]:
        found = decode.greedy(net, x, lengths) if way == "greedy" else decode.beam(net, x, lengths, 3)
        assert found.shape == (len(x), 6)
        return [said(row) for row in found]

    net, x = writer(arch, connection), sources()
    together = write(x, LENGTHS)
    assert [write(alone(x, item), LENGTHS[item : item + 1])[0] for item in range(6)] == together
    order = torch.tensor([3, 5, 0, 1])
    wider = torch.nn.functional.pad(x, (0, 3), value=6)
    assert write(wider[order], LENGTHS[order]) == [together[item] for item in order]


@every
@pytest.mark.parametrize("way", ["greedy", "beam"])
def test_what_is_written_is_well_formed(arch: str, way: str) -> None:
    """Even by a model that would say nothing but PAD and BEGIN."""
    net, x = writer(arch), sources()
    net.head.linear.bias.data[[PAD, BEGIN]] = 100.0
    for limit in (1, 4):
        net.spec = net.spec.model_copy(update={"target_length": limit})
        found = decode.greedy(net, x, LENGTHS) if way == "greedy" else decode.beam(net, x, LENGTHS, 9)
        assert found.shape == (6, limit) and found.dtype == torch.int64
        for row in found.tolist():
            text = row[: row.index(END) + 1] if END in row else row
            assert set(text) <= set(SAYABLE)
            assert set(row[len(text) :]) <= {UNSCORED}


def test_no_end_in_sight_stops_at_the_longest_target() -> None:
    net, x = writer("gru"), sources()
    net.head.linear.bias.data[END] = -100.0
    for found in (decode.greedy(net, x, LENGTHS), decode.beam(net, x, LENGTHS, 3)):
        assert not (found == END).any() and not (found == UNSCORED).any()


def test_nothing_but_an_end() -> None:
    net, x = writer("gru"), sources()
    net.head.linear.bias.data[END] = 100.0
    for found in (decode.greedy(net, x, LENGTHS), decode.beam(net, x, LENGTHS, 3)):
        same(found, [(END,)] * 6)


# ---------------------------------------------------------------- sampling


def drawn(net: Any, count: int, seed: int = 0, **how: Any) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    prompt = torch.tensor([1, 5, 2], dtype=torch.uint8)
    return list(itertools.islice(decode.sample(net, prompt, generator, **how), count))


@torch.no_grad()
def next_logits(net: Any, tokens: list[int]) -> Tensor:
    """After these tokens; a core that carries no state sees a window, whose last half is kept when it is full."""
    read, longest = len(tokens), net.spec.length
    if not hasattr(net.core, "carry") and read > longest:
        half = longest // 2
        read = half + (read - longest - 1) % (longest - half + 1)
    logits: Tensor = net(torch.tensor([tokens[-read:]]))[0, -1]
    return logits


@every
@pytest.mark.parametrize("how", [{"temperature": 0.0}, {"top_k": 1}], ids=["temperature 0", "top 1"])
def test_the_likeliest_token(arch: str, how: dict[str, Any]) -> None:
    net = built(STREAM, arch, seed=2)
    tokens = [1, 5, 2]
    for token in drawn(net, 20, **how):
        assert token == int(next_logits(net, tokens).argmax())
        tokens.append(token)


@every
def test_sampling_is_the_plain_loop(arch: str) -> None:
    net, tokens, generator = built(STREAM, arch, seed=2), [1, 5, 2], torch.Generator().manual_seed(7)
    for token in drawn(net, 20, seed=7, temperature=0.7, top_k=3):
        values, likeliest = next_logits(net, tokens).float().topk(3)
        chance = torch.softmax(values.double() / 0.7, dim=0)
        assert token == int(likeliest[torch.multinomial(chance, 1, generator=generator)])
        tokens.append(token)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (0.5, 0), (2.0, 0), (1.0, 3), (1.0, 99)])
def test_frequencies_are_those_of_the_softmax(temperature: float, top_k: int) -> None:
    logits = torch.tensor([0.0, 2.0, -1.0, 1.0, 0.5, -3.0])
    expected = torch.softmax(logits.double() / temperature, dim=0)
    if 0 < top_k < 6:
        expected[expected < expected.sort(descending=True).values[top_k - 1]] = 0.0
        expected /= expected.sum()
    generator, draws = torch.Generator().manual_seed(0), 4000
    tokens = torch.tensor([decode._draw(logits, generator, temperature, top_k) for _ in range(draws)])
    found = torch.bincount(tokens, minlength=6) / draws
    error = (expected * (1 - expected) / draws).sqrt()
    assert bool(((found - expected).abs() <= 4 * error).all())


@every
def test_the_generator_alone_decides(arch: str) -> None:
    net = built(STREAM, arch, seed=2)
    torch.manual_seed(1)
    first = drawn(net, 30)
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    assert drawn(net, 30) == first
    assert torch.equal(torch.random.get_rng_state(), before)
    assert drawn(net, 30, seed=1) != first


def test_a_window_is_never_longer_than_the_one_learned() -> None:
    """Of a core that carries no state: positions beyond the window were never trained."""
    net, held = built(STREAM, "transformer", seed=2), []
    step = net.step

    def watched(x_t: Tensor, state: Any) -> Any:
        out, state = step(x_t, state)
        held.append(state[0][0].shape[2])
        return out, state

    net.step = watched
    drawn(net, 40)
    assert held[:9] == [1, 2, 3, 4, 5, 6, 1, 2, 3]
    assert max(held) == 6


# ---------------------------------------------------------------- labels for each step

MANY = Spec(inputs="values", input_size=3, outputs="multilabel", output_size=3, length=6, metric="nll", direction="min")


def next_many(net: Any, rolls: Tensor) -> Tensor:
    """Logits after these steps (time, labels), all read anew; without a carried state, only a window of them."""
    if not hasattr(net.core, "carry"):
        rolls = windowed(rolls)
    with torch.no_grad():
        logits: Tensor = net(rolls[None])[0, -1]
    return logits


def windowed(rolls: Tensor) -> Tensor:
    """What is in sight of a window of 6 when it is cut to its last 3 whenever it is full."""
    first = 0
    for count in range(1, len(rolls) + 1):
        if count - first > 6:
            first = count - 3
    return rolls[first:]


@every
def test_labels_are_drawn_one_by_one_and_fed_back(arch: str) -> None:
    net, generator = built(MANY, arch, seed=2), torch.Generator().manual_seed(7)
    rolls = torch.tensor([[1, 0, 1], [0, 0, 1]], dtype=torch.uint8)
    drawing = decode.sample_many(net, rolls, torch.Generator().manual_seed(7), temperature=0.7)
    for step in itertools.islice(drawing, 20):
        chance = torch.sigmoid(next_many(net, rolls).float().double() / 0.7)
        expected = torch.rand(3, generator=generator, dtype=torch.float64) < chance
        assert step.dtype == torch.uint8 and torch.equal(step.bool(), expected)
        rolls = torch.cat((rolls, step[None]))
    assert 0 < rolls.sum() < rolls.numel()


def test_labels_at_temperature_zero_are_the_likelier_ones() -> None:
    net, rolls = built(MANY, "gru", seed=2), torch.tensor([[1, 0, 1]], dtype=torch.uint8)
    for step in itertools.islice(decode.sample_many(net, rolls, torch.Generator(), temperature=0.0), 8):
        assert torch.equal(step.bool(), next_many(net, rolls) > 0)
        rolls = torch.cat((rolls, step[None]))


# ---------------------------------------------------------------- connectionist temporal classification


def chances_of(seed: int, steps: int, labels: int) -> Tensor:
    return 2 * torch.randn(1, steps, labels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def merged(path: Sequence[int]) -> Written:
    """Repeats merged, then blanks dropped (the map B of Graves et al. 2006)."""
    return tuple(label for label, _ in itertools.groupby(path) if label != 0)


def likeliest(outputs: Tensor) -> Written:
    """Over all paths."""
    logs = torch.log_softmax(outputs[0], dim=1)
    total: dict[Written, float] = {}
    for path in itertools.product(range(outputs.shape[2]), repeat=outputs.shape[1]):
        chance = math.exp(sum(float(logs[t, label]) for t, label in enumerate(path)))
        total[merged(path)] = total.get(merged(path), 0.0) + chance
    assert sum(total.values()) == pytest.approx(1.0)
    return max(total, key=lambda labels: total[labels])


@pytest.mark.parametrize("seed", range(12))
def test_a_wide_beam_of_prefixes_finds_the_likeliest_labels(seed: int) -> None:
    outputs = chances_of(seed, 6, 3)
    assert tuple(decode.prefix_beam(outputs, None, 200)[0]) == likeliest(outputs)


def test_the_best_path_need_not_be_that_of_the_likeliest_labels() -> None:
    """Blank at 0.6 in both steps: its path has 0.36, the three paths of the label together 0.64."""
    outputs = torch.tensor([[[0.6, 0.4], [0.6, 0.4]]]).log()
    assert decode.best_path(outputs, None) == [[]]
    assert decode.prefix_beam(outputs, None, 5) == [[1]]


@pytest.mark.parametrize(
    ("path", "labels"),
    [([0, 0], []), ([1, 1, 1], [1]), ([1, 0, 1], [1, 1]), ([0, 2, 2, 0, 1], [2, 1]), ([1, 2, 1], [1, 2, 1])],
)
def test_repeats_are_merged_unless_a_blank_is_between(path: list[int], labels: list[int]) -> None:
    outputs = 50.0 * torch.nn.functional.one_hot(torch.tensor(path), 3)[None]
    assert decode.best_path(outputs, None) == decode.prefix_beam(outputs, None, 3) == [labels]


def test_steps_beyond_the_end_say_nothing() -> None:
    outputs = torch.cat((chances_of(1, 7, 4), chances_of(2, 7, 4)))
    steps = torch.tensor([3, 7])
    for way in (decode.best_path, lambda *args: decode.prefix_beam(*args, 4)):
        assert way(outputs, steps) == [*way(outputs[:1, :3], None), *way(outputs[1:], None)]
