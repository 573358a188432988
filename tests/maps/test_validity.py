from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from scipy import stats

from wsiparse.errors import InputError
from wsiparse.maps.validity import (
    MIN_SAMPLES,
    BetaFit,
    adjust,
    choose_fits,
    digest_fits,
    fit_beta,
    fit_features,
    judge_slide,
    judge_tile,
    load_fits,
    measure_masks,
    sum_masks,
    write_fits,
)
from wsiparse.ontology import Target

DATA = Path(__file__).parents[1] / "data" / "biomedparse"
FITS = Path(__file__).parents[2] / "configs" / "validity" / "biomedparse-v1.json"
CELLS = ["connective tissue cells", "inflammatory cells", "neoplastic cells", "epithelial cells"]
SETS = ["overlap", "disjoint", "noisy", "empty"]

arrays: dict[str, Any] = load_file(DATA / "post_golden.safetensors")
numbers: dict[str, Any] = json.loads((DATA / "post_golden.json").read_text())


def test_the_fits_are_the_official_ones() -> None:
    digest = hashlib.sha256(FITS.read_bytes()).hexdigest()
    assert digest == "1ef667c043867efc28b0c217448f99c0a8f24f11ffceb02923eaf7e4c39038ed"
    assert list(load_fits(FITS)) == CELLS


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([[2, 3]] * 3, "target 'cells' has 3 pairs, expected one each for probability, red, green, blue"),
        ([[2, 3]] * 5, "has 5 pairs"),
        ([*[[2, 3]] * 3, [0, 3]], r"has \(0.0, 3.0\), expected numbers above 0"),
        ([*[[2, 3]] * 3, [2, float("nan")]], r"has \(2.0, nan\)"),
        ([[2, 3, 4]] * 4, "of .a, b. pairs"),
    ],
)
def test_fits_that_are_no_distributions_are_refused_in_one_line(
    tmp_path: Path, pairs: list[list[float]], message: str
) -> None:
    (tmp_path / "fits.json").write_text(json.dumps({"Pathology": {"cells": pairs}}))
    with pytest.raises(InputError, match=message) as caught:
        load_fits(tmp_path / "fits.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", SETS)
def test_statistics_and_p_values_of_masks_are_the_official_ones(name: str) -> None:
    fits = load_fits(FITS)
    statistics = measure_masks(255 * arrays[f"{name}.prob"][None], arrays["img"][None])[0]
    for target, found in zip(CELLS, statistics, strict=True):
        np.testing.assert_allclose(found, numbers[name]["stats"][target], atol=1e-7)  # the official means are float32
        assert adjust(judge_tile(found, fits[target])) == pytest.approx(numbers[name]["p_values"][target], abs=1e-7)


def test_quantised_probabilities_give_nearly_the_same_statistics() -> None:
    exact = 255 * arrays["overlap.prob"]
    quantised = np.round(exact).astype(np.uint8)
    pixels = arrays["img"][None]
    np.testing.assert_allclose(measure_masks(quantised[None], pixels), measure_masks(exact[None], pixels), atol=2e-3)


@pytest.mark.parametrize(("target", "statistics", "product", "adjusted", "_"), numbers["p_table"])
def test_p_values_of_a_table_are_the_official_ones(
    target: str, statistics: list[float], product: float, adjusted: float, _: float
) -> None:
    found = judge_tile(np.array(statistics, float), load_fits(FITS)[target])
    assert found == pytest.approx(product, rel=1e-9, abs=1e-300)
    assert adjust(found) == pytest.approx(adjusted, rel=1e-9, abs=1e-300)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0.01, 0.99), min_size=4, max_size=4), st.floats(0.5, 60), st.floats(0.5, 60))
def test_one_tile_is_judged_as_scipy_judges_one_sample(values: list[float], a: float, b: float) -> None:
    fits = (BetaFit(a, b),) * 4
    wanted = np.prod([stats.ks_1samp([value], stats.beta(a, b).cdf).pvalue for value in values])
    assert judge_tile(np.array(values), fits) == pytest.approx(wanted, rel=1e-9, abs=1e-15)
    assert judge_slide(np.array([values]), fits) == pytest.approx(wanted, rel=1e-9, abs=1e-15)


def test_a_slide_like_the_fitted_images_is_plausible_and_a_shifted_one_is_not() -> None:
    rng = np.random.default_rng(0)
    fits = load_fits(FITS)["neoplastic cells"]
    tiles = np.stack([rng.beta(fit.a, fit.b, 60) for fit in fits], 1)  # [N, features]
    assert adjust(np.array(judge_slide(tiles, fits))) > 0.05
    assert adjust(np.array(judge_slide(tiles * [0.8, 1, 1, 1], fits))) < 0.001
    masked = np.concatenate([tiles, np.zeros((40, 4))])
    assert judge_slide(masked, fits) == judge_slide(tiles, fits)


def test_a_slide_without_any_mask_has_no_plausibility() -> None:
    assert judge_slide(np.zeros((5, 4)), load_fits(FITS)["neoplastic cells"]) == 0


@settings(deadline=None, max_examples=10)
@given(st.floats(1, 40), st.floats(1, 40), st.integers(0, 2**31))
def test_a_fit_finds_the_distribution_its_samples_came_from(a: float, b: float, seed: int) -> None:
    samples = np.clip(np.random.default_rng(seed).beta(a, b, 4000), 1e-9, 1 - 1e-9)
    fit = fit_beta(samples)
    points = np.linspace(0.02, 0.98, 25)
    np.testing.assert_allclose(fit.cdf(points), BetaFit(a, b).cdf(points), atol=0.05)


@pytest.mark.parametrize("samples", [[], [0.5], [0.5, 0.5], [0.2, 1.0], [0.0, 0.4]])
def test_samples_that_fit_no_distribution_are_refused(samples: list[float]) -> None:
    with pytest.raises(InputError, match="expected at least two different ones"):
        fit_beta(samples)


def test_a_black_tile_spoils_no_fit() -> None:
    statistics = np.random.default_rng(0).beta(5, 3, (400, 4))
    whole = fit_features("nuclei", statistics)
    statistics[7] = 0.0
    points = np.linspace(0.1, 0.9, 9)
    for with_black, without in zip(fit_features("nuclei", statistics), whole, strict=True):
        np.testing.assert_allclose(with_black.cdf(points), without.cdf(points), atol=0.05)


def test_a_file_without_the_modality_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fits.json"
    path.write_text('{"OCT": {"x": [[1, 2], [1, 2], [1, 2], [1, 2]]}}')
    with pytest.raises(InputError, match="no 'Pathology'"):
        load_fits(path)
    path.write_text('{"Pathology": {"x": [[1]]}}')
    with pytest.raises(InputError, match="pairs"):
        load_fits(path)
    with pytest.raises(InputError, match="No such file"):
        load_fits(tmp_path / "none.json")


def test_sums_of_large_masks_are_exact() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (3, 300, 500), dtype=np.uint8)
    values[2] = 0
    pixels = rng.integers(200, 256, (300, 500, 3), dtype=np.uint8)
    inside = values >= 128
    expected = [
        [m.sum(), v[m].sum(dtype=int), *pixels[m].sum(0, dtype=int)] for v, m in zip(values, inside, strict=True)
    ]
    np.testing.assert_array_equal(sum_masks(values, pixels), expected)


def test_targets_find_their_fits_by_the_object_they_ask_for() -> None:
    def target(name: str, prompt: str, *synonyms: str) -> Target:
        return Target(name, prompt, "cell", (1, 2, 3), 0.25, synonyms=synonyms)

    fits = load_fits(FITS)
    targets = [
        target("Neoplastic cells", "anything"),
        target("tumour", "neoplastic cells in breast pathology"),
        target("lymphocytes", "immune cells", "inflammatory cells in pathology"),
        target("nuclei", "nuclei in pathology"),
    ]
    chosen = choose_fits(fits, targets)
    assert chosen == {
        "Neoplastic cells": fits["neoplastic cells"],
        "tumour": fits["neoplastic cells"],
        "lymphocytes": fits["inflammatory cells"],
    }


def test_fits_are_written_as_they_are_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = {"nuclei": fit_features("nuclei", rng.beta(5, 3, (40, 4)))}
    write_fits(tmp_path / "fits.json", made, {"nuclei": 40})
    assert load_fits(tmp_path / "fits.json") == made
    assert digest_fits(load_fits(tmp_path / "fits.json")) == digest_fits(made) != digest_fits(load_fits(FITS))
    assert json.loads((tmp_path / "fits.json").read_text())["samples"] == {"Pathology": {"nuclei": 40}}


def test_too_few_samples_are_refused_by_the_targets_name() -> None:
    with pytest.raises(InputError, match=r"'nuclei': 19 tiles .* expected at least 20"):
        fit_features("nuclei", np.full((MIN_SAMPLES - 1, 4), 0.5))


def test_absent_targets_are_told_from_present_ones() -> None:
    """Sanity on drawn masks: colours of one stain for what is there, of others or no mask for what is not."""
    rng = np.random.default_rng(0)
    fits = load_fits(FITS)["neoplastic cells"]
    there = np.stack([rng.beta(fit.a, fit.b, 200) for fit in fits], 1)
    elsewhere = there * rng.uniform(0.55, 1.0, (200, 1)) * [1, 1.4, 2.0, 1.3]
    absent = np.where(rng.random((200, 1)) < 0.3, 0, elsewhere.clip(0, 0.999))
    present, missing = (judge_tile(statistics, fits) for statistics in (there, absent))
    assert (present[:, None] > missing).mean() > 0.95  # area under the ROC curve
    assert (missing < 0.01).mean() > (present < 0.01).mean() + 0.5
