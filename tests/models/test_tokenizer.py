from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from tests.models.official import load_cases, load_golden
from wsiparse.errors import ModelError
from wsiparse.models.tokenizer import CONTEXT, load_tokenizer, split_words

# Ids of CLIP's own tokenizer (open_clip_torch 3.3.0, SimpleTokenizer) without the start and end.
REFERENCE = {
    "Barrett's oesophagus, grade 3-4 (20x)": [
        *(18701, 568, 78, 957, 38634, 8018, 267, 3394, 274, 268, 275, 263, 273, 271, 343, 264),
    ],
    "it's the patient's 2nd H&E slide": [585, 568, 518, 6262, 568, 273, 1764, 327, 261, 324, 8837],
    "Ki-67 positive cells at 0.25 µm/px": [
        *(2608, 268, 277, 278, 4844, 8890, 536, 271, 269, 273, 276, 126, 113, 332, 270, 10262),
    ],
    "β-catenin — 12½ % of tumour²": [138, 366, 268, 1481, 524, 530, 2005, 272, 273, 33613, 260, 539, 45129, 41175],
    "don't we'll they've I'm he'd you're": [847, 713, 649, 1342, 889, 1200, 328, 880, 797, 1896, 592, 982],
    "cells!!! ...and 'quoted' text": [8890, 995, 678, 537, 262, 27706, 262, 4160],
    "Größe der Drüsen": [709, 7255, 127, 253, 324, 801, 1084, 6522, 2249],
    "細胞 核": [163, 112, 108, 164, 225, 508, 162, 254, 372],
    "_under_score_ a_b": [318, 1798, 318, 4431, 318, 320, 318, 321],
    "١٢ x٣": [149, 350, 149, 351, 343, 149, 352],
}


def test_ids_of_all_golden_prompts() -> None:
    for text, ids, used in zip(load_cases()["texts"], load_golden()["tok.ids"], load_golden()["tok.mask"], strict=True):
        assert load_tokenizer().encode(text) == ids[used.bool()].tolist()


@pytest.mark.parametrize("text", REFERENCE)
def test_ids_of_unusual_texts(text: str) -> None:
    assert load_tokenizer().encode(text)[1:-1] == REFERENCE[text]


def test_the_vocabulary_has_the_official_size() -> None:
    tokenizer = load_tokenizer()
    assert (tokenizer.size, tokenizer.start, tokenizer.end) == (49408, 49406, 49407)


def test_prompts_of_several_lengths_are_padded_with_the_end_token() -> None:
    ids, used = load_tokenizer().encode_all(["neoplastic cells in breast pathology", "tumor"])
    assert ids.shape == used.shape == (2, used[0].sum())
    assert used[1].tolist() == [True] * 3 + [False] * (ids.shape[1] - 3)
    assert set(ids[1, 3:].tolist()) == {49407}
    assert ids.dtype == np.int64


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(codec="utf-8"), max_size=12))
def test_any_text_becomes_known_tokens_and_case_and_spaces_do_not_matter(text: str) -> None:
    tokenizer = load_tokenizer()
    ids = tokenizer.encode(text)
    assert ids[0] == tokenizer.start
    assert ids[-1] == tokenizer.end
    assert all(0 <= i < tokenizer.start for i in ids[1:-1])
    assert tokenizer.encode(f" {text}  ") == ids


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_words_are_the_whole_text_but_for_spaces(text: str) -> None:
    assert "".join(split_words(text)) == "".join(text.split())


def test_a_prompt_that_is_too_long_is_refused() -> None:
    tokenizer = load_tokenizer()
    longest = " ".join(["cell"] * (CONTEXT - 2))
    assert len(tokenizer.encode(longest)) == CONTEXT
    with pytest.raises(ModelError, match="76 tokens; expected at most 75"):
        tokenizer.encode(longest + " cell")
