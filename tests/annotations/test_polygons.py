from __future__ import annotations

import pickle
import random
from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tests.annotations.masks import (
    DRAWERS,
    GLAND,
    NUCLEUS,
    TARGETS,
    Mask,
    annotate,
    as_bytes,
    draw_mask,
    draw_scores,
    make_slide,
    trace_blocks,
)
from wsiparse.annotations.polygons import join_blocks, trace_block
from wsiparse.geometry import Region

kinds = st.sampled_from(sorted(DRAWERS))
seeds = st.integers(0, 2**20)


def unite_pixels(mask: Mask) -> shapely.Geometry:
    rows, columns = np.nonzero(mask)
    return shapely.union_all(shapely.box(columns, rows, columns + 1, rows + 1))


def brute_force(labels: Mask) -> list[tuple[str, int, shapely.Geometry]]:
    """Name, pixels and outline of every object, in the order of their last pixels, each from its pixels alone."""
    found = []
    for code in (1, 2):
        ids, count = ndimage.label(labels == code)
        for n in range(1, count + 1):
            last = int(np.flatnonzero(ids == n)[-1])
            found.append((last, TARGETS[code - 1].name, int((ids == n).sum()), unite_pixels(ids == n)))
    return [entry[1:] for entry in sorted(found, key=lambda entry: entry[0])]


@settings(deadline=None, max_examples=60)
@given(kinds, seeds)
def test_exact_outlines_are_the_unions_of_the_pixels(kind: str, seed: int) -> None:
    labels = draw_mask(kind, seed)
    grid, slide = make_slide(labels, 2.0)
    traced = list(join_blocks(trace_blocks(labels, None, 7), TARGETS, grid, slide.grid, tolerance=0))
    expected = brute_force(labels)
    assert [a.target for a in traced] == [name for name, _, _ in expected]
    assert [a.area_um2 for a in traced] == [pixels * 0.25 for _, pixels, _ in expected]
    for annotation, (_, _, outline) in zip(traced, expected, strict=True):
        assert annotation.polygon.equals(shapely.transform(outline, lambda points: points * 2))
        assert annotation.probability is None


@settings(deadline=None, max_examples=50)
@given(kinds, seeds, st.integers(3, 41), st.randoms(use_true_random=False))
def test_bytes_and_order_depend_neither_on_blocks_nor_on_their_order_in_a_row(
    kind: str, seed: int, side: int, shuffler: random.Random
) -> None:
    labels = draw_mask(kind, seed)
    scores = draw_scores(labels, seed)
    grid, slide = make_slide(labels, 3.9737)
    blocks = trace_blocks(labels, scores, side)
    shuffler.shuffle(blocks)
    blocks.sort(key=lambda pieces: pieces.region.y)
    whole = as_bytes(annotate(labels, 3.9737, scores=scores))
    assert as_bytes(list(join_blocks(blocks, TARGETS, grid, slide.grid))) == whole


@pytest.mark.parametrize("kind", sorted(DRAWERS))
def test_blocks_of_one_pixel_join_to_the_whole(kind: str) -> None:
    labels = draw_mask(kind, 1)[:17, :17]
    assert as_bytes(annotate(labels, side=1)) == as_bytes(annotate(labels))


def test_blocks_of_unequal_cuts_join_too() -> None:
    labels = draw_mask("blobs", 11)
    height, width = labels.shape
    grid, slide = make_slide(labels, 2.0)
    regions = [Region(0, 0, 5, height), Region(5, 0, width - 5, 6), Region(5, 6, width - 5, height - 6)]
    blocks = [trace_block(labels[r.slices], None, r) for r in regions]
    assert as_bytes(list(join_blocks(blocks, TARGETS, grid, slide.grid))) == as_bytes(annotate(labels))


def test_probability_is_the_mean_over_the_pixels_of_the_own_target() -> None:
    labels = np.array([[1, 1, 0, 2, 2]], np.uint8)
    scores = np.array([[[255, 0, 9, 7, 7]], [[3, 3, 3, 51, 102]]], np.uint8)
    gland, nucleus = annotate(labels, scores=scores, side=1)
    assert gland.probability == pytest.approx(0.5)
    assert nucleus.probability == pytest.approx(0.3)


def test_a_corner_alone_does_not_connect() -> None:
    labels = np.array([[1, 0], [0, 1]], np.uint8)
    for side in (1, 2):
        assert len(annotate(labels, side=side)) == 2


def test_neighbours_of_different_targets_stay_apart_across_a_border() -> None:
    labels = np.array([[1, 1, 2, 2]], np.uint8)
    assert [a.target for a in annotate(labels, side=2)] == ["gland", "nucleus"]


def test_objects_below_the_smallest_area_are_dropped_after_joining() -> None:
    labels = np.zeros((8, 8), np.uint8)
    labels[0, :4] = 1  # 4 pixels of 0.25 µm², 2 in each of two blocks
    labels[4, 4] = 1
    labels[7, 7] = 2
    targets = (replace(GLAND, min_area_um2=1.0), NUCLEUS)
    assert [(a.target, a.area_um2) for a in annotate(labels, targets=targets, side=2)] == [
        ("gland", 1.0),
        ("nucleus", 0.25),
    ]


def test_holes_are_kept_and_close_across_borders() -> None:
    labels = np.ones((9, 9), np.uint8)
    labels[3:6, 3:6] = 0
    for side in (1, 4, 9):
        (ring,) = annotate(labels, side=side)
        assert len(ring.polygon.interiors) == 1
        assert ring.polygon.area == pytest.approx(72 * 4, rel=1e-3)


def test_missing_blocks_cut_objects_where_nothing_was_computed() -> None:
    labels = np.ones((4, 12), np.uint8)
    grid, slide = make_slide(labels, 1.0)
    left, _, right = trace_blocks(labels, None, 4)
    assert len(list(join_blocks([right, left], TARGETS, grid, slide.grid))) == 2


def test_nothing_gives_nothing() -> None:
    grid, slide = make_slide(np.zeros((4, 4), np.uint8), 1.0)
    assert list(join_blocks([], TARGETS, grid, slide.grid)) == []
    assert annotate(np.zeros((4, 4), np.uint8), side=3) == []


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
def test_label_maps_of_every_integer_kind_are_traced(kind: type[np.integer]) -> None:
    labels = draw_mask("two targets", 5)
    grid, slide = make_slide(labels, 2.0)
    region = Region(0, 0, labels.shape[1], labels.shape[0])
    pieces = trace_block(labels.astype(kind), None, region)
    assert as_bytes(list(join_blocks([pieces], TARGETS, grid, slide.grid))) == as_bytes(annotate(labels))


def test_pieces_travel_between_processes() -> None:
    labels = draw_mask("noise", 3)
    blocks = trace_blocks(labels, draw_scores(labels, 3), 8)
    copies = pickle.loads(pickle.dumps(blocks))
    grid, slide = make_slide(labels, 2.0)
    first, second = (list(join_blocks(part, TARGETS, grid, slide.grid)) for part in (blocks, copies))
    assert as_bytes(first) == as_bytes(second)
