"""Prompt text into tokens: words, and pieces of words, hashed into a fixed number of buckets.

No vocabulary file travels with the weights, and a word that training never saw still shares pieces with its relatives
(gland, glands, glandular), after fastText's subword model (Bojanowski et al. 2017).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import TargetError

WORDS = 16
PIECES = 20
PIECE_LETTERS = 3


def split_prompt(text: str) -> list[str]:
    """Words of a prompt in lower case; hyphens and other signs part words, so `low-grade` equals `low grade`."""
    return re.findall(r"[a-z0-9&]+", text.casefold())


def tokenize_prompt(text: str, buckets: int) -> NDArray[np.int64]:
    """Buckets of each word and its pieces [WORDS, PIECES]; 0 is padding, words and pieces beyond the sizes are dropped.

    Raises TargetError where the prompt holds no word at all.
    """
    words = split_prompt(text)
    if not words:
        raise TargetError(
            f"prompt {text!r} holds no word of letters from a to z or digits; write in English what to find"
        )
    tokens = np.zeros((WORDS, PIECES), np.int64)  # [WORDS, PIECES]
    for row, word in zip(tokens, words, strict=False):
        pieces = _cut_word(word)[:PIECES]
        row[: len(pieces)] = [1 + zlib.crc32(piece.encode()) % (buckets - 1) for piece in pieces]
    return tokens


def find_alike(read: Iterable[tuple[str, bytes]]) -> tuple[int, int] | None:
    """Places of the first two prompts that a model reads alike though they ask for different things.

    Each is given as what it asks for, and what the model makes of its words.
    """
    first: dict[bytes, tuple[int, str]] = {}
    for place, (wanted, seen) in enumerate(read):
        earlier, other = first.setdefault(seen, (place, wanted))
        if other != wanted:
            return earlier, place
    return None


def _cut_word(word: str) -> list[str]:
    marked = f"<{word}>"
    starts = range(len(marked) - PIECE_LETTERS + 1)
    return [marked, *(marked[start : start + PIECE_LETTERS] for start in starts)]
