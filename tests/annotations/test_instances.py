"""Objects counted once and drawn whole, wherever the borders of blocks lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from tests.annotations.discs import Mask, draw_discs, draw_noise
from tests.annotations.masks import GLAND, NUCLEUS, TARGETS, as_bytes, cut_regions, make_slide
from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.instances import InstanceTracing, trace_instance_block
from wsiparse.annotations.numbering import LabelMap
from wsiparse.annotations.pieces import Pieces
from wsiparse.annotations.polygons import join_blocks
from wsiparse.annotations.splitting import Splitting, split_objects
from wsiparse.errors import PlanError
from wsiparse.geometry import Region
from wsiparse.ontology import Target

Scores = NDArray[np.uint8]
ReadLabels = Callable[[Region], tuple[LabelMap, Scores]]

# A reach so short that the window of a block ends inside the drawn labels.
SMALL = Splitting(reach_um=2, max_radius_um=1, smoothing_um=0.4, min_distance_um=1)


def read_from(labels: LabelMap, scores: Scores) -> ReadLabels:
    """Reads windows of arrays that may lie over their edges, as a canvas does."""
    height, width = labels.shape

    def read(region: Region) -> tuple[LabelMap, Scores]:
        seen = region.intersect(Region(0, 0, width, height))
        sides = (seen.y - region.y, region.bottom - seen.bottom), (seen.x - region.x, region.right - seen.right)
        return np.pad(labels[seen.slices], sides), np.pad(scores[:, *seen.slices], ((0, 0), *sides))

    return read


def trace(
    labels: LabelMap, scores: Scores, side: int, options: Splitting, targets: tuple[Target, ...] = TARGETS
) -> list[Pieces]:
    tracing = InstanceTracing.of_targets(targets, 0.5, options)
    return trace_regions(read_from(labels, scores), cut_regions(labels, side), tracing)


def trace_regions(read: ReadLabels, regions: Iterable[Region], tracing: InstanceTracing) -> list[Pieces]:
    return [trace_instance_block(*read(region.grow(tracing.halo)), region, tracing) for region in regions]


def annotate(
    labels: LabelMap, scores: Scores, side: int, options: Splitting, targets: tuple[Target, ...] = TARGETS
) -> list[Annotation]:
    grid, slide = make_slide(np.asarray(labels, np.uint8), 2.0)
    return list(join_blocks(trace(labels, scores, side, options, targets), targets, grid, slide.grid))


def label_discs(mask: Mask, code: int = 2) -> tuple[NDArray[np.uint8], Scores]:
    labels = np.where(mask, code, 0).astype(np.uint8)
    scores = np.zeros((2, *mask.shape), np.uint8)
    scores[code - 1] = np.where(mask, 255, 0)
    return labels, scores


@st.composite
def label_maps(draw: st.DrawFn) -> tuple[NDArray[np.uint8], Scores]:
    """Regions and objects side by side, with probabilities of both."""
    mask, probability = draw(draw_noise())
    seed = draw(st.integers(0, 2**32))
    generator = np.random.default_rng(seed)
    glands = ndimage.gaussian_filter(generator.standard_normal(mask.shape), 6) > draw(st.sampled_from([-9, 0, 0.03, 9]))
    labels = np.where(mask, np.where(glands, 1, 2), 0).astype(np.uint8)
    return labels, np.stack([probability, probability[::-1, ::-1]])


@settings(deadline=None, max_examples=25)
@given(label_maps(), st.sampled_from([11, 16, 37, 64]), st.booleans())
def test_the_size_of_blocks_changes_no_byte(drawn: tuple[NDArray[np.uint8], Scores], side: int, both: bool) -> None:
    labels, scores = drawn
    targets = (replace(GLAND, instances=both), NUCLEUS)
    whole = annotate(labels, scores, 1000, SMALL, targets)
    assert as_bytes(annotate(labels, scores, side, SMALL, targets)) == as_bytes(whole)
    # One block of everything is the pure function on the whole array.
    for code, target in enumerate(targets, start=1):
        if target.instances:
            ids = split_objects(labels == code, scores[code - 1], 0.5, SMALL)
            assert sum(annotation.target == target.name for annotation in whole) == ids.max(initial=0)


@settings(deadline=None, max_examples=25)
@given(label_maps(), st.sampled_from([13, 40]))
def test_pieces_partition_the_labels(drawn: tuple[NDArray[np.uint8], Scores], side: int) -> None:
    labels, scores = drawn
    painted = np.zeros(labels.shape, np.int64)
    sums = np.zeros(3, np.int64)
    for pieces in trace(labels, scores, side, SMALL):
        for polygon, code, pixels in zip(pieces.outlines.to_shapely(), pieces.codes, pieces.pixels, strict=True):
            assert polygon.is_valid
            assert polygon.area == pixels
            left, top, right, bottom = (int(edge) for edge in polygon.bounds)
            rows, columns = np.mgrid[top:bottom, left:right]
            inside = shapely.contains_xy(polygon, columns + 0.5, rows + 0.5)
            painted[top:bottom, left:right] += np.where(inside, code, 0)
        assert pieces.scores is not None
        own = pieces.scores[np.arange(len(pieces)), pieces.codes - 1]
        sums += np.bincount(pieces.codes, own, 3).astype(np.int64)
    np.testing.assert_array_equal(painted, labels)
    for code in (1, 2):
        assert sums[code] == scores[code - 1][labels == code].sum(dtype=np.int64)


def test_discs_on_every_border_and_corner_are_counted_once() -> None:
    side = 64
    lines = [32, 64, 96, 128, 160]
    centers = [(row, column) for row in lines for column in lines]
    labels, scores = label_discs(draw_discs((192, 192), centers, 7))
    found = annotate(labels, scores, side, Splitting())
    assert len(found) == len(centers)
    pixels = draw_discs((20, 20), [(10, 10)], 7).sum()
    assert {annotation.area_um2 for annotation in found} == {pixels * 0.25}


@pytest.mark.parametrize("side", [37, 64, 300])
def test_touching_discs_across_borders_are_parted_and_counted_once(side: int) -> None:
    centers = [(12 + 13 * row, 12 + 13 * column) for row in range(14) for column in range(14)]
    labels, scores = label_discs(draw_discs((200, 200), centers, 7))
    found = annotate(labels, scores, side, Splitting())
    assert len(found) == len(centers)
    polygons = np.array([annotation.polygon for annotation in found], object)
    tree = shapely.STRtree(polygons)
    for row, column in centers:
        assert len(tree.query(shapely.Point(2 * column + 1, 2 * row + 1), predicate="within")) == 1


def test_an_object_beyond_its_reach_goes_on_as_another_one_whatever_the_blocks() -> None:
    mask = np.zeros((40, 500), np.bool_)
    mask[12:28, 4:496] = True
    labels, scores = label_discs(mask)
    whole = annotate(labels, scores, 1000, Splitting())
    for side in (40, 128):
        assert as_bytes(annotate(labels, scores, side, Splitting())) == as_bytes(whole)
    assert sum(annotation.area_um2 for annotation in whole) == mask.sum() * 0.25


@pytest.mark.parametrize("distance", range(9, 18))
def test_a_centre_in_a_far_block_has_its_say(distance: int) -> None:
    # Two centres on one thin bar contend for pixels that each alone would reach in the last sweep.
    options = Splitting(reach_um=4.5, max_radius_um=0.5, smoothing_um=0)
    mask = np.zeros((9, 60), np.bool_)
    mask[3:6, 2:58] = True
    labels, scores = label_discs(mask)
    scores = np.where(scores > 0, 128, 0).astype(np.uint8)
    scores[1, 4, [20, 20 + distance]] = 255
    whole = annotate(labels, scores, 1000, options)
    assert len(whole) > 2
    for side in (7, 10, 21):
        assert as_bytes(annotate(labels, scores, side, options)) == as_bytes(whole)


def test_a_group_without_instances_is_read_without_halo() -> None:
    tracing = InstanceTracing.of_targets((GLAND,), 0.5)
    assert tracing.codes == ()
    assert tracing.halo == 0
    mask = draw_discs((30, 60), [(15, 15), (15, 28)], 7)
    labels, scores = label_discs(mask, code=1)
    (pieces,) = trace_regions(read_from(labels, scores), [Region(0, 0, 60, 30)], tracing)
    assert len(pieces) == 1


def test_two_blocks_of_nothing_give_nothing() -> None:
    labels, scores = label_discs(np.zeros((20, 40), np.bool_))
    assert annotate(labels, scores, 20, SMALL) == []


def test_labels_without_their_halo_are_refused() -> None:
    labels, scores = label_discs(np.ones((20, 20), np.bool_))
    with pytest.raises(PlanError, match="read the halo too"):
        trace_instance_block(labels, scores, Region(0, 0, 20, 20), InstanceTracing.of_targets(TARGETS, 0.5))
