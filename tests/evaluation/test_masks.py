from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from rasterio.features import rasterize

from tests.evaluation.drawing import NAMES, ONTOLOGY, draw_slide
from wsiparse.errors import ReferenceFileError
from wsiparse.evaluation.masks import InstanceReference, MaskReference, read_instances, read_mask
from wsiparse.evaluation.names import TargetNames
from wsiparse.geometry import Region

SLIDE = draw_slide()  # 400 × 300 of 0.5 µm
GRID = SLIDE.grid
ONLY_GLAND = TargetNames(ONTOLOGY, ("gland",))


def draw_values(width: int = 400, height: int = 300, value: int = 255, dtype: Any = np.uint8) -> NDArray[Any]:
    """A rectangle from 1/4 to 1/2 of the width and from 1/5 to 3/5 of the height."""
    values = np.zeros((height, width), dtype)
    values[height // 5 : height * 3 // 5, width // 4 : width // 2] = value
    return values


def save(path: Path, values: NDArray[Any]) -> Path:
    if path.suffix == ".tif":
        tifffile.imwrite(path, values)
    else:
        Image.fromarray(values).save(path, lossless=True)
    return path


def drawn(reference: MaskReference, target: str = "gland", mpp: float = 0.5) -> NDArray[np.bool_]:
    grid = GRID.at_mpp(mpp)
    return reference.draw(target, grid.region, grid)


@pytest.mark.parametrize("name", ["s1.png", "s1.tif", "s1.webp", "s1.bmp"])
@pytest.mark.parametrize("value", [1, 255])
def test_a_binary_mask_is_the_only_evaluated_target(tmp_path: Path, name: str, value: int) -> None:
    values = draw_values(value=value)
    reference = read_mask(save(tmp_path / name, values), SLIDE, 0.5, ONLY_GLAND)
    assert np.array_equal(drawn(reference), values > 0)
    assert reference.covers("gland")
    assert not reference.covers("tumour")
    assert not reference.draw_ignored(GRID.region, GRID).any()


@pytest.mark.parametrize("named", ["lymphoid_aggregate", "lymphoid-aggregate", "Lymphoid aggregate"])
def test_a_named_mask_is_that_target(tmp_path: Path, named: str) -> None:
    reference = read_mask(save(tmp_path / "m.png", draw_values()), SLIDE, 0.5, NAMES, named)
    assert drawn(reference, "lymphoid aggregate").sum() == 100 * 120
    assert not reference.covers("gland")


def test_a_mask_without_name_among_several_targets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ReferenceFileError,
        match=r"a file without classes for 3 targets; expected a file name <slide>__.*column reference_target",
    ):
        read_mask(save(tmp_path / "m.png", draw_values()), SLIDE, 0.5, NAMES)


def test_a_mask_of_a_target_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReferenceFileError, match="'stroma'"):
        read_mask(save(tmp_path / "m.png", draw_values()), SLIDE, 0.5, NAMES, "stroma")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "1"])
def test_a_grey_picture_stored_in_other_ways_is_the_same_mask(tmp_path: Path, mode: str) -> None:
    values = draw_values()
    Image.fromarray(values).convert(mode).save(tmp_path / "m.png")
    assert np.array_equal(drawn(read_mask(tmp_path / "m.png", SLIDE, 0.5, ONLY_GLAND)), values > 0)


def test_a_coloured_picture_is_refused(tmp_path: Path) -> None:
    values = np.dstack([draw_values(), draw_values(), draw_values(value=7)])
    with pytest.raises(ReferenceFileError, match="expected one channel of whole numbers"):
        read_mask(save(tmp_path / "m.png", values), SLIDE, 0.5, ONLY_GLAND)


@pytest.mark.parametrize(("width", "height"), [(200, 150), (100, 75), (134, 100), (133, 100), (800, 600), (400, 299)])
@pytest.mark.parametrize("mpp", [0.5, 1.0, 1.5])
def test_a_mask_at_any_scale_lies_on_the_slide(tmp_path: Path, width: int, height: int, mpp: float) -> None:
    reference = read_mask(save(tmp_path / "m.png", draw_values(width, height)), SLIDE, 0.5, ONLY_GLAND)
    found = np.argwhere(drawn(reference, mpp=mpp)) * (mpp / 0.5)
    pixel = 400 / width + mpp / 0.5  # one of the mask and one of the grid
    assert found.min(axis=0) == pytest.approx([60, 100], abs=pixel)
    assert found.max(axis=0) == pytest.approx([180, 200], abs=pixel)


def test_a_mask_made_on_the_grid_itself_is_taken_pixel_by_pixel(tmp_path: Path) -> None:
    slide = draw_slide(401, 301)
    grid = slide.grid.at_mpp(1.7)
    values = np.random.default_rng(0).integers(0, 2, (grid.height, grid.width)).astype(np.uint8)
    reference = read_mask(save(tmp_path / "m.png", values), slide, 1.7, ONLY_GLAND)
    assert np.array_equal(reference.draw("gland", grid.region, grid), values > 0)
    region = Region(20, 33, 57, 41)
    assert np.array_equal(reference.draw("gland", region, grid), values[region.slices] > 0)


@given(st.integers(120, 300), st.integers(120, 300), st.integers(1, 8))
@example(2220, 2967, 32)
@example(4443, 3567, 16)
@example(775, 522, 4)
@settings(deadline=None, max_examples=40)
def test_a_masks_outlines_lie_where_its_pixels_are_drawn(width: int, height: int, step: int) -> None:
    grid = draw_slide(width, height).grid
    rows, columns = -(-height // step), -(-width // step)  # the last ones may lie partly over the slide's edge
    numbers = np.arange(1, rows * columns + 1, dtype=np.uint32).reshape(rows, columns)
    numbers[:-2, :-2] = 0  # what drifts does so most at the far edges
    reference = InstanceReference(numbers, "gland", grid)
    objects, shown = reference.list_objects("gland"), reference.number_objects("gland", grid.region, grid)
    assert objects is not None
    assert shown is not None
    burnt = rasterize(zip(objects, numbers[numbers > 0], strict=True), (height, width), dtype="uint32")
    assert np.array_equal(shown, burnt)


@pytest.mark.parametrize(("width", "height"), [(300, 400), (400, 298), (200, 152), (100, 100), (133, 102)])
def test_a_mask_of_another_shape_is_refused_with_both_sizes(tmp_path: Path, width: int, height: int) -> None:
    with pytest.raises(ReferenceFileError, match=f"mask of {width} × {height} pixels for a slide of 400 × 300"):
        read_mask(save(tmp_path / "m.png", draw_values(width, height)), SLIDE, 0.5, ONLY_GLAND)


def test_more_than_two_values_need_a_legend(tmp_path: Path) -> None:
    values = draw_values(value=3)
    values[0, 0] = 2
    with pytest.raises(ReferenceFileError, match=r"values \[0, 2, 3\], expected 0 and 255 or 0 and 1; add m.json"):
        read_mask(save(tmp_path / "m.png", values), SLIDE, 0.5, ONLY_GLAND)


def test_an_empty_mask_says_that_the_target_is_nowhere(tmp_path: Path) -> None:
    reference = read_mask(save(tmp_path / "m.png", draw_values(value=0)), SLIDE, 0.5, ONLY_GLAND)
    assert reference.covers("gland")
    assert not drawn(reference).any()


@pytest.mark.parametrize("name", ["m.png", "m.tif"])
def test_instances_are_one_target_when_told_so(tmp_path: Path, name: str) -> None:
    values = draw_values(dtype=np.uint16)
    values[values > 0] = np.arange(1, 12_001)
    path = save(tmp_path / name, values)
    assert np.array_equal(drawn(read_instances(path, SLIDE, 0.5, ONLY_GLAND)), values > 0)


def test_objects_have_no_numbers_below_0(tmp_path: Path) -> None:
    values = draw_values(dtype=np.int16)
    values[0, 0] = -1
    with pytest.raises(ReferenceFileError, match="number -1, expected those of objects and 0 for none"):
        read_instances(save(tmp_path / "m.tif", values), SLIDE, 0.5, ONLY_GLAND)


@pytest.mark.parametrize(("value", "told"), [(255, 1), (7, 0), (0, 0)])
def test_a_mask_of_two_values_that_is_said_to_number_objects_is_told(tmp_path: Path, value: int, told: int) -> None:
    reference = read_instances(save(tmp_path / "m.png", draw_values(value=value)), SLIDE, 0.5, ONLY_GLAND)
    assert [remark.startswith("all that is 255 taken for one object") for remark in reference.remarks] == [True] * told


def test_a_label_image_is_read_with_its_legend(tmp_path: Path) -> None:
    values = draw_values(value=2)
    values[:10, :10], values[:10, 20:30], values[:10, 40:50] = 1, 7, 9
    (tmp_path / "m.json").write_text(json.dumps({"1": "crypt", "2": "Tumor", "7": "Ignore*", "9": ""}))
    reference = read_mask(save(tmp_path / "m.png", values), SLIDE, 0.5, NAMES)
    assert drawn(reference, "gland").sum() == 100
    assert drawn(reference, "tumour").sum() == 100 * 120
    assert reference.draw_ignored(GRID.region, GRID).sum() == 100
    assert not reference.covers("lymphoid aggregate")


def test_labels_inside_a_frame_are_compared(tmp_path: Path) -> None:
    values = draw_values(value=2)
    values[100:120, 120:150], values[100:120, 160:170] = 1, 7
    (tmp_path / "m.json").write_text(json.dumps({"0": "", "1": "crypt", "2": "Region*", "7": "Ignore*"}))
    reference = read_mask(save(tmp_path / "m.png", values), SLIDE, 0.5, NAMES)
    assert np.array_equal(reference.draw_ignored(GRID.region, GRID), (values == 0) | (values == 7))
    (tmp_path / "m.json").write_text(json.dumps({"0": "tumour", "1": "crypt", "2": "Region*", "7": "Ignore*"}))
    reference = read_mask(tmp_path / "m.png", SLIDE, 0.5, NAMES)
    assert np.array_equal(reference.draw_ignored(GRID.region, GRID), values == 7)


def test_a_legend_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"2": "tumour"}', encoding="utf-8-sig")
    assert drawn(read_mask(save(tmp_path / "m.png", draw_values(value=2)), SLIDE, 0.5, NAMES), "tumour").any()


def test_a_named_mask_of_more_values_has_its_legend_too(tmp_path: Path) -> None:
    values = draw_values()
    values[:10] = 128
    path = save(tmp_path / "s__gland.png", values)
    (tmp_path / "s__gland.json").write_text('{"128": "Ignore*", "255": "crypt"}')
    reference = read_mask(path, SLIDE, 0.5, NAMES, "gland")
    assert np.array_equal(drawn(reference), values == 255)
    assert np.array_equal(reference.draw_ignored(GRID.region, GRID), values == 128)
    with pytest.raises(ReferenceFileError, match=r"named after 'tumour', of which s__gland.json has no value"):
        read_mask(path, SLIDE, 0.5, NAMES, "tumour")
    save(path, draw_values())
    assert read_mask(path, SLIDE, 0.5, NAMES, "tumour").covers("tumour")


def test_a_palette_image_is_read_by_its_indices(tmp_path: Path) -> None:
    picture = Image.fromarray(draw_values(value=2))
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    picture.save(tmp_path / "m.png")
    (tmp_path / "m.json").write_text('{"2": "tumour"}')
    assert drawn(read_mask(tmp_path / "m.png", SLIDE, 0.5, NAMES), "tumour").sum() == 100 * 120


@pytest.mark.parametrize(
    ("legend", "message"),
    [
        ('{"1": "gland"}', r"values \[2\] are not in m.json"),
        ('{"2": "stroma"}', "'stroma'"),
        ("[1, 2]", "expected an object"),
        ('{"two": "gland"}', "expected an object"),
        ("", "expected an object"),
    ],
)
def test_a_legend_that_does_not_fit_is_refused(tmp_path: Path, legend: str, message: str) -> None:
    (tmp_path / "m.json").write_text(legend)
    with pytest.raises(ReferenceFileError, match=message):
        read_mask(save(tmp_path / "m.png", draw_values(value=2)), SLIDE, 0.5, NAMES)


def test_of_a_pyramid_the_coarsest_level_that_is_fine_enough_is_read(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        file.write(draw_values(), tile=(64, 64), subifds=2)
        file.write(draw_values(200, 150), tile=(64, 64), subfiletype=1)
        file.write(draw_values(100, 75), tile=(64, 64), subfiletype=1)
    for mpp, width in ((0.5, 400), (0.9, 400), (1.0, 200), (1.5, 200), (2.0, 100), (9.0, 100)):
        assert read_mask(tmp_path / "m.tif", SLIDE, mpp, ONLY_GLAND).width == width


@pytest.mark.parametrize("name", ["m.png", "m.tif", "missing.png", "missing.tif"])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "m.png").write_bytes(b"no picture")
    (tmp_path / "m.tif").write_bytes(b"no picture")
    with pytest.raises(ReferenceFileError, match="expected a PNG, TIFF, WebP or BMP image") as caught:
        read_mask(tmp_path / name, SLIDE, 0.5, ONLY_GLAND)
    assert "\n" not in str(caught.value)


def test_a_picture_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "m.png", np.random.default_rng(0).integers(0, 2, (300, 400)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ReferenceFileError):
        read_mask(path, SLIDE, 0.5, ONLY_GLAND)


def test_numbers_of_a_mask_are_kept_at_any_scale(tmp_path: Path) -> None:
    values = np.zeros((300, 400), np.uint16)
    values[20:60, 40:80], values[20:60, 80:120] = 700, 3
    reference = read_instances(save(tmp_path / "s1.png", values), SLIDE, 0.5, ONLY_GLAND)
    grid = GRID.at_mpp(1.0)
    numbers = reference.number_objects("gland", grid.region, grid)
    assert numbers is not None
    assert np.array_equal(numbers, values[1::2, 1::2])
    assert not np.any(reference.number_objects("nuclei", grid.region, grid))
    plain = read_mask(save(tmp_path / "s2.png", draw_values()), SLIDE, 0.5, ONLY_GLAND)
    assert plain.number_objects("gland", grid.region, grid) is None


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_mask_in_the_transparency_is_refused(tmp_path: Path, mode: str) -> None:
    white = Image.new(mode.removesuffix("A"), (400, 300), "white")
    white.putalpha(Image.fromarray(draw_values()))
    assert white.mode == mode
    white.save(tmp_path / "m.png")
    with pytest.raises(ReferenceFileError, match=r"parts of the picture are transparent, expected .* flatten it"):
        read_mask(tmp_path / "m.png", SLIDE, 0.5, ONLY_GLAND)
