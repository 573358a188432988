"""Features as text beside the slow way: `round` and a JSON encoder, object by object."""

from __future__ import annotations

import json
import math

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st

from tests.annotations.masks import GLAND, TARGETS
from wsiparse.annotations.annotation import Annotation, RunnerUp, Shape
from wsiparse.annotations.batches import Batch
from wsiparse.annotations.feature_text import FeatureText, round_numbers

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
HALVES = st.integers(-(10**12), 10**12).map(lambda n: (2 * n + 1) / 2e6)


@given(st.lists(NUMBERS | HALVES | st.floats(0, 1e5)))
def test_numbers_are_rounded_as_python_rounds_them(numbers: list[float]) -> None:
    expected = [round(n, 6) if math.isfinite(n) else n for n in numbers]
    rounded = round_numbers(np.array(numbers, float))
    np.testing.assert_array_equal(rounded, expected)
    np.testing.assert_array_equal(np.signbit(rounded), np.signbit(np.array(expected, float)))


def make_annotation(
    n: int, name: str, mean: float | None, shape: tuple[float, ...] | None, second: tuple[str, float] | None
) -> Annotation:
    outline, runner_up = shapely.box(n, 0, n + 1, 1.25), RunnerUp(*second) if second else None
    return Annotation(name, outline, 6.25, mean, Shape(*shape) if shape else None, runner_up)


def measured(value: float) -> st.SearchStrategy[float | None]:
    return st.none() | st.just(value) | st.floats()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["gland", "nucleus", 'a "quoted" µ', ""]),
            measured(0.5),
            st.none() | st.tuples(*4 * [st.floats()]),
            st.none() | st.tuples(st.sampled_from(["nucleus", "ü"]), st.floats(0, 1)),
        ),
        min_size=1,
        max_size=9,
    )
)
def test_features_say_what_a_json_encoder_says(
    rows: list[tuple[str, float | None, tuple[float, ...] | None, tuple[str, float] | None]],
) -> None:
    annotations = [make_annotation(n, *row) for n, row in enumerate(rows)]
    batch = Batch.of(annotations)
    texts = FeatureText(TARGETS).write(batch, batch.polygons, [f"id{n}" for n in range(len(rows))])
    for n, (annotation, text) in enumerate(zip(annotations, texts, strict=True)):
        feature = json.loads(text)
        assert list(feature) == ["type", "id", "geometry", "properties"]
        assert feature["id"] == f"id{n}"
        assert shapely.from_geojson(json.dumps(feature["geometry"])).equals_exact(annotation.polygon)
        assert feature["properties"]["measurements"] == expect_measurements(annotation)
        second = {"Runner-up": annotation.runner_up.target} if annotation.runner_up else {}
        prompts = {target.name: {"prompt": target.prompt} for target in TARGETS}
        assert feature["properties"]["metadata"] == {**prompts.get(annotation.target, {}), **second}


def expect_measurements(annotation: Annotation) -> dict[str, float]:
    shape = annotation.shape or (None,) * 4
    values = {
        "Area µm^2": annotation.area_um2,
        "Mean probability": annotation.probability,
        **dict(zip(("Perimeter µm", "Convex ratio", "Box ratio", "Inertia ratio"), shape, strict=True)),
        "Runner-up probability": annotation.runner_up.probability if annotation.runner_up else None,
    }
    return {name: round(n, 6) for name, n in values.items() if n is not None and math.isfinite(n)}


def test_a_batch_gives_back_the_annotations_it_was_made_of() -> None:
    box = shapely.box(0, 0, 1, 1)
    annotations = [
        Annotation("gland", box, 1.0),
        Annotation(GLAND.name, box, 2.0, 0.5, Shape(1.0, 0.9, math.inf, 0.7), RunnerUp("nucleus", 0.25)),
    ]
    assert list(Batch.of(annotations).list_annotations()) == annotations
