"""Byte-pair tokens of a prompt, as CLIP's text encoder was trained with (Radford et al. 2021)."""

from __future__ import annotations

import functools
import gzip
import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import ModelError

CONTEXT = 77
"""Longest prompt in tokens, start and end included."""
MERGES = "bpe_simple_vocab_16e6.txt.gz"
MERGE_COUNT = 49152 - 256 - 2
CONTRACTION = re.compile(r"'(?:s|t|re|ve|m|ll|d)")
END_OF_WORD = "</w>"


class Tokenizer:
    """Splits prompts into words and words into the byte pairs of a list of merges, most frequent first."""

    def __init__(self, merges: Sequence[tuple[str, str]]) -> None:
        alphabet = list(_byte_letters().values())
        words = [*alphabet, *(letter + END_OF_WORD for letter in alphabet), *("".join(pair) for pair in merges)]
        self._ids = {word: i for i, word in enumerate(words)}
        self._ranks = {pair: i for i, pair in enumerate(merges)}
        self.start, self.end = len(words), len(words) + 1

    @property
    def size(self) -> int:
        """Tokens known, start and end included."""
        return self.end + 1

    def encode(self, prompt: str) -> list[int]:
        """Token ids of a prompt between start and end; case and the width of spaces do not matter."""
        text = " ".join(unicodedata.normalize("NFC", prompt).split()).lower()
        ids = [self._ids[piece] for word in split_words(text) for piece in self._merge(word)]
        if len(ids) + 2 > CONTEXT:
            raise ModelError(
                f"prompt {prompt[:40]!r}… has {len(ids)} tokens; expected at most {CONTEXT - 2}; shorten the prompt"
            )
        return [self.start, *ids, self.end]

    def encode_all(self, prompts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Ids [P, T] of prompts, padded with the end token to the longest, and which of them are not padding."""
        rows = [self.encode(prompt) for prompt in prompts]
        lengths = np.array([len(row) for row in rows])
        ids = np.full((len(rows), lengths.max()), self.end, np.int64)
        used = np.arange(ids.shape[1]) < lengths[:, None]
        ids[used] = np.concatenate(rows)
        return ids, used

    def _merge(self, word: str) -> list[str]:
        letters = _byte_letters()
        pieces = [letters[byte] for byte in word.encode("utf-8")]
        pieces[-1] += END_OF_WORD
        while (pair := self._best_pair(pieces)) is not None:
            pieces = list(_join_pairs(pieces, pair))
        return pieces

    def _best_pair(self, pieces: list[str]) -> tuple[str, str] | None:
        known = [pair for pair in itertools.pairwise(pieces) if pair in self._ranks]
        return min(known, key=self._ranks.__getitem__, default=None)


@functools.cache
def load_tokenizer() -> Tokenizer:
    """The tokenizer of CLIP, from the list of merges that comes with the package."""
    packed = resources.files("wsiparse.models").joinpath("data", MERGES).read_bytes()
    lines = gzip.decompress(packed).decode("utf-8").split("\n")[1 : MERGE_COUNT + 1]  # the first line is a comment
    pairs = (line.split() for line in lines)
    return Tokenizer([(left, right) for left, right in pairs])


def split_words(text: str) -> list[str]:
    """Words of a text: runs of letters, single digits, runs of other signs, and English endings such as 's."""
    words = []
    at = 0
    while at < len(text):
        ending = CONTRACTION.match(text, at)
        word = ending.group() if ending else _next_run(text, at)
        at += len(word)
        words.append(word)
    return [word for word in words if not word.isspace()]


def _next_run(text: str, at: int) -> str:
    kind = _kind(text[at])
    if kind == "N":
        return text[at]
    return "".join(itertools.takewhile(lambda letter: _kind(letter) == kind, text[at:]))


def _kind(letter: str) -> str:
    """L for letters, N for numbers, Z for space, S for all other signs."""
    if letter.isspace():
        return "Z"
    category = unicodedata.category(letter)[0]
    return category if category in "LN" else "S"


def _join_pairs(pieces: list[str], pair: tuple[str, str]) -> Iterator[str]:
    at = 0
    while at < len(pieces):
        joined = tuple(pieces[at : at + 2]) == pair
        yield "".join(pair) if joined else pieces[at]
        at += 2 if joined else 1


@functools.cache
def _byte_letters() -> dict[int, str]:
    """A printable letter for each byte, in the vocabulary's order; unprintable bytes borrow letters from 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}
