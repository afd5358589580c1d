"""What translation needs: pairs of lines, a joint sub-word vocabulary, BLEU and chrF, IBM Model 1."""

from __future__ import annotations

import functools
import gzip
import io
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from seqbench.errors import InputError
from seqbench.prepared import Array, Prepared
from seqbench.records import BEGIN, END, PAD, UNKNOWN
from seqbench.tasks._common import bad_line, utf8

MARKS = 4
"""PAD, UNKNOWN, BEGIN and END: pieces of every vocabulary."""
ROUNDS = 5
"""Of expectation maximisation; more change the score of the control by less than half a point."""


# ---------------------------------------------------------------- pairs of lines


class Pair(NamedTuple):
    """A sentence and its translation, tidied; and the translation as its file has it."""

    source: str
    target: str
    reference: str


def tidy(text: str) -> str:
    """Composed letters (NFC), one plain space between words, none around them."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def read_lines(path: Path) -> list[str]:
    """Lines of a gzipped text, without their ends. DataError names the first one that is empty or not UTF-8."""
    lines: list[str] = []
    try:
        with gzip.open(path) as file:
            for line in file:
                lines.append(_text(line, path, len(lines) + 1))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise bad_line(f"not a whole gzip file ({error})", path, len(lines) + 1) from None
    if not lines:
        raise bad_line("the file is empty", path, 1)
    return lines


def _text(line: bytes, path: Path, number: int) -> str:
    text = utf8(line, path, number).rstrip("\r\n")
    if not text.strip():
        raise bad_line("the sentence is empty", path, number)
    return text


def read_pairs(source: Path, target: Path) -> tuple[list[Pair], int]:
    """The pairs of two files, line by line, and how many lines had to be tidied.

    Raises DataError where a line is bad or one file has more lines than the other.
    """
    left, right = read_lines(source), read_lines(target)
    if len(left) != len(right):
        short, long = sorted([(len(left), source), (len(right), target)])
        what = f"{long[0]} lines, but {short[0]} in {short[1].name}: lines of a pair belong together"
        raise bad_line(what, long[1], short[0] + 1)
    pairs = [Pair(tidy(one), tidy(other), other) for one, other in zip(left, right, strict=True)]
    lines = zip(left + right, [p.source for p in pairs] + [p.target for p in pairs], strict=True)
    return pairs, sum(before != after for before, after in lines)


# ---------------------------------------------------------------- sub-words


def train_tokeniser(texts: Sequence[str], size: int) -> bytes:
    """A sentencepiece model (Kudo & Richardson 2018): `size` pieces by byte pair encoding (Sennrich et al. 2016).

    Every character of the texts has a piece. One thread and no sampling: the bytes depend on the
    arguments alone. Raises InputError where so many pieces cannot be had, or are too few.
    """
    smallest = MARKS + len(set("".join(texts)) | {" "})
    if size < smallest:
        what = f"{size} pieces are too few for the {smallest - MARKS} characters of the text and {MARKS} marks"
        raise InputError(what, f"vocabulary = {size}", f"take {smallest} or more")
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="bpe",
        vocab_size=size,
        hard_vocab_limit=False,  # fewer pieces are no RuntimeError of the library, but our InputError
        character_coverage=1.0,
        normalization_rule_name="identity",
        pad_id=PAD,
        unk_id=UNKNOWN,
        bos_id=BEGIN,
        eos_id=END,
        num_threads=1,
        shuffle_input_sentence=False,
        minloglevel=2,
    )
    pieces = SentencePieceProcessor(model_proto=model.getvalue()).get_piece_size()
    if pieces != size:
        what = f"the training text gives {pieces} pieces, not {size}"
        raise InputError(what, f"vocabulary = {size}", f"take {pieces} or fewer, or more training pairs")
    return model.getvalue()


@functools.lru_cache(maxsize=4)
def tokeniser(data: Prepared) -> SentencePieceProcessor:
    """The sentencepiece model that the prepared data carry; loaded once."""
    return SentencePieceProcessor(model_proto=data.array("tokeniser").tobytes())


def decode(model: SentencePieceProcessor, tokens: Array) -> str:
    """The text of tokens (time,) before the first END; sentencepiece leaves out the other marks."""
    tokens = np.asarray(tokens)
    return str(model.decode(tokens[np.cumsum(tokens == END) == 0].tolist()))


# ---------------------------------------------------------------- scores


def scores(texts: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Corpus BLEU (Papineni et al. 2002) and chrF2 (Popović 2015), 0 to 100, as sacrebleu has them (Post 2018)."""
    known = [list(references)]
    # force: a full stop that stands alone is no sign of tokenised text here, and no reason to warn.
    bleu, chrf = BLEU(force=True).corpus_score(texts, known), CHRF().corpus_score(texts, known)
    return {"bleu": float(bleu.score), "chrf": float(chrf.score)}


def by_length(texts: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """BLEU of the shorter and of the longer half, by words of the reference; those of the median length are short."""
    words = np.array([len(line.split()) for line in references])
    halves = {"bleu_short": words <= np.median(words), "bleu_long": words > np.median(words)}
    found = {}
    for name, half in halves.items():
        pairs = [(text, line) for text, line, mine in zip(texts, references, half, strict=True) if mine]
        found[name] = scores([text for text, _ in pairs], [line for _, line in pairs])["bleu"] if pairs else 0.0
    return found


def signature() -> str:
    """How the BLEU of `scores` was computed, in sacrebleu's words."""
    metric = BLEU(force=True)
    metric.corpus_score(["one"], [["one"]])  # it names the number of references, and learns it here
    return str(metric.get_signature())


# ---------------------------------------------------------------- word by word


def words(text: str) -> list[str]:
    """The words and punctuation marks that BLEU compares."""
    return str(_mteval(text)).split()


_mteval = Tokenizer13a()  # type: ignore[no-untyped-call]


class Model1:
    """IBM Model 1 (Brown et al. 1993, sec. 4.1): t(e | f), the probability that source word f becomes e.

    Each target word comes from one source word of its sentence, or from none (the empty word), all
    of them equally likely. Expectation maximisation from equal probabilities.
    """

    def __init__(self, sources: Iterable[list[str]], targets: Iterable[list[str]]) -> None:
        self._from: dict[str, int] = {}
        to: dict[str, int] = {}
        left = [np.array([0, *(self._from.setdefault(w, len(self._from) + 1) for w in line)]) for line in sources]
        right = [np.array([to.setdefault(w, len(to)) for w in line]) for line in targets]
        # A link is a target word in its sentence beside one word of the source sentence.
        links = [(f * len(to) + e[:, None]).ravel() for f, e in zip(left, right, strict=True)]
        per_word = [np.full(len(e), len(f)) for f, e in zip(left, right, strict=True)]
        asked = np.concatenate(per_word)
        places = np.repeat(np.arange(len(asked)), asked)
        codes, links_to = np.unique(np.concatenate(links), return_inverse=True)
        source, target = codes // len(to), codes % len(to)
        chance: Array = np.ones(len(codes))
        for _ in range(ROUNDS):
            share = chance[links_to]
            share /= np.bincount(places, share)[places]
            expected = np.bincount(links_to, share)
            chance = expected / np.bincount(source, expected)[source]
        order = np.lexsort((target, -chance, source))  # ties: the word that train has first
        first = order[np.unique(source[order], return_index=True)[1]]
        names = list(to)
        self._likeliest = {int(source[i]): names[target[i]] for i in first}

    def translate(self, line: list[str]) -> list[str]:
        """The likeliest translation of each word, in the order of the source; an unknown word stays."""
        return [self._likeliest[self._from[word]] if word in self._from else word for word in line]


def word_by_word(pairs: Iterable[tuple[str, str]], sources: Iterable[str]) -> list[str]:
    """The sources translated by a Model 1 of the pairs (source, target)."""
    left, right = zip(*((words(source), words(target)) for source, target in pairs), strict=True)
    model = Model1(left, right)
    return [" ".join(model.translate(words(source))) for source in sources]
