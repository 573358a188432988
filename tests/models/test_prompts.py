from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsiparse.errors import TargetError
from wsiparse.models.prompts import PIECES, WORDS, split_prompt, tokenize_prompt


@given(st.text(max_size=80), st.integers(2, 5000))
@settings(deadline=None, max_examples=100)
def test_tokens_fit_their_table(text: str, buckets: int) -> None:
    if not split_prompt(text):
        with pytest.raises(TargetError, match="holds no word"):
            tokenize_prompt(text, buckets)
        return
    tokens = tokenize_prompt(text, buckets)
    assert tokens.shape == (WORDS, PIECES)
    assert tokens.min() >= 0
    assert 0 < tokens.max() < buckets


def test_case_hyphens_and_spaces_do_not_matter() -> None:
    plain = tokenize_prompt("low grade intraepithelial neoplasia", 4096)
    assert np.array_equal(plain, tokenize_prompt("  Low-Grade intraepithelial  NEOPLASIA ", 4096))


def test_relatives_share_pieces() -> None:
    gland, glands, nuclei = (set(tokenize_prompt(word, 1 << 20)[0]) - {0} for word in ("gland", "glands", "nuclei"))
    assert len(gland & glands) >= 4
    assert not gland & nuclei


def test_tokens_are_the_same_in_every_process() -> None:
    assert tokenize_prompt("nuclei", 4096)[0, :3].tolist() == [1096, 2198, 606]
