"""Penn Treebank: the next word of Wall Street Journal articles (Mikolov et al. 2010).

Source: the files of Zaremba et al. 2014: sections 0 to 20 / 21 and 22 / 23 and 24 of the treebank (Marcus et
al. 1993), lower-case, without punctuation, numbers as N, 10,000 types with the end mark <eos> of each line;
other words are <unk>, 5 % of the text. 929,589 / 73,760 / 82,430 tokens with end marks, all of them scored:
each split is read after an <eos>. The vocabulary is that of the training file, whole. 85 lines of valid and
64 of test are also in train; they are kept, as published. The corpus is under terms of the LDC.

Score: perplexity; state is carried from window to window, as published. On test (Zaremba et al. 2014, Table
1): LSTM without dropout 114.5, medium with dropout 82.7, large 78.4. 5-gram, Kneser-Ney: 141.2 (Mikolov &
Zweig 2012), which the control here reproduces; AWD-LSTM with tied weights 57.3 (Merity et al. 2018).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from seqbench.prepared import SPLITS, Array, Prepared, pack
from seqbench.records import Count, Share
from seqbench.tasks._common import bad_line, numbering
from seqbench.tasks._language import Language, LanguageSettings, nothing_to_read

END_OF_LINE, UNKNOWN, NUMBER = "<eos>", "<unk>", "N"
PARTS = re.compile(r"n't\b|'(?:s|re|ve|ll|d|m)\b|[$%]|(?:(?!n't\b)[^'$%])+")
"""A word that the vocabulary lacks, in parts as the treebank writes them: do n't, company 's, $ N, N %."""
DIGITS = re.compile(r"[+-]?[.]?\d[\d.,:/]*")
PUNCTUATION = ".,;:!?\"'()"


def read(path: Path) -> list[list[str]]:
    """The words of each line; DataError names the first bad line."""
    lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    return [_line(line, path, number) for number, line in enumerate(lines, start=1)]


def _line(line: bytes, path: Path, number: int) -> list[str]:
    try:
        words = line.decode("ascii").split()
    except UnicodeDecodeError as error:
        raise bad_line(f"not ASCII (byte {line[error.start]:#x})", path, number) from None
    if not words:
        raise bad_line("the line has no word", path, number)
    if END_OF_LINE in words:
        raise bad_line(f"the line holds the mark {END_OF_LINE}, which stands for its end", path, number)
    return words


class Task(Language):
    """x (tokens,) int32, y (tokens,) int64. `vocabulary`: the most frequent token of train first, ties by alphabet."""

    SOURCES = ("ptb-train", "ptb-valid", "ptb-test")
    TITLE = "Penn Treebank"
    LINE_END = END_OF_LINE
    ORDER = 5
    BY_LINE = True  # as in the published model, which reads sentence by sentence
    METRIC = "perplexity"
    TIED = True

    class Settings(LanguageSettings):
        """Window, tokens of each split, embedding columns, dropout; the defaults are those of the medium LSTM."""

        length: Count = 35
        embedding: Count = 650
        dropout: Share = 0.5

    def read(self, raw: Mapping[str, Path]) -> tuple[dict[str, Array], Array, tuple[str, ...]]:
        """Number the tokens of train by frequency; count what the splits share."""
        lines = {split: read(raw[f"ptb-{split}"]) for split in SPLITS}
        counts = Counter(word for words in lines["train"] for word in (*words, END_OF_LINE))
        names = sorted(counts, key=lambda word: (-counts[word], word))
        numbers = {word: number for number, word in enumerate(names)}
        parts = {split: _numbered(lines[split], numbers, raw[f"ptb-{split}"]) for split in SPLITS}
        known = {tuple(words) for words in lines["train"]}
        notes = [
            f"{sum(tuple(words) in known for words in lines[split])} of {len(lines[split])} lines of {split} are also "
            "in train: kept, as published"
            for split in ("valid", "test")
        ]
        notes.append(f"{counts[UNKNOWN]} of the {len(parts['train'])} tokens of the training part are {UNKNOWN}: kept")
        return parts, pack(names), tuple(notes)

    def encode(self, text: str, data: Prepared) -> Array:
        """The numbers (tokens,) of a person's text, in the treebank's form: any other word is <unk>.

        Lower-case, numbers as N, no punctuation, endings and signs on their own; a line end is <eos>.
        """
        numbers = numbering(data)
        lines = [[token for word in line.split() for token in _tokens(word, numbers)] for line in text.split("\n")]
        if not any(lines):
            raise nothing_to_read()
        tokens = [token for line in lines for token in (*line, END_OF_LINE)][:-1]
        return np.array([numbers[token] for token in tokens], np.int64)

    def decode(self, tokens: Array, data: Prepared) -> str:
        """Words with blanks between them; <eos> ends a line."""
        return re.sub(f" ?{END_OF_LINE} ?", "\n", " ".join(self.pieces(tokens, data)))


def _numbered(lines: list[list[str]], numbers: dict[str, int], path: Path) -> Array:
    """All tokens (tokens,) with the end marks; DataError names a word without a number."""
    tokens: list[int] = []
    for line, words in enumerate(lines, start=1):
        for word in words:
            if word not in numbers:
                raise bad_line(f"the word '{word[:40]}' is not in the training file", path, line)
            tokens.append(numbers[word])
        tokens.append(numbers[END_OF_LINE])
    return np.array(tokens, np.int64)


def _tokens(word: str, numbers: dict[str, int]) -> Iterator[str]:
    """The tokens of one word of a prompt."""
    for form in (word, word.lower()):
        if form in numbers:
            yield form
            return
    for part in PARTS.findall(word.lower()):
        bare = part if part in numbers else part.strip(PUNCTUATION)
        if bare:
            yield bare if bare in numbers else NUMBER if DIGITS.fullmatch(bare) else UNKNOWN
