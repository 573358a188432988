from __future__ import annotations

import itertools
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import MakeSlide
from tests.drawing import draw_tissue
from wsiparse.errors import MppError, SlideError
from wsiparse.geometry import Grid, Region
from wsiparse.slides import open as opening
from wsiparse.slides.jpeg_tiff import JpegTiffReader
from wsiparse.slides.open import OPEN_READERS, describe, make_reader, open_slide, reader_of
from wsiparse.slides.openslide import OpenSlideReader, read_bounds
from wsiparse.slides.slide import Slide


def test_the_real_slide_is_described(cmu_1: Path) -> None:
    slide = describe(cmu_1)
    assert slide.id == "CMU-1-Small-Region"
    assert slide.levels == (Grid(2220, 2967, 0.499),)
    assert (slide.mpp_source, slide.vendor, slide.codec, slide.bounds) == ("openslide.mpp", "aperio", "jpeg", None)
    assert len(slide.fingerprint) == 64


def test_arguments_win(cmu_1: Path) -> None:
    slide = describe(cmu_1, id="case-7", mpp=0.25)
    assert (slide.id, slide.mpp, slide.mpp_source) == ("case-7", 0.25, "manifest")


def test_a_moved_slide_keeps_its_fingerprint_and_a_changed_one_does_not(cmu_1: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copy(cmu_1, tmp_path / "other name.svs"))
    assert describe(moved).fingerprint == describe(cmu_1).fingerprint
    with moved.open("ab") as file:
        file.write(b"x")
    assert describe(moved).fingerprint != describe(cmu_1).fingerprint


def test_level_grids_do_not_drift(make_slide: MakeSlide) -> None:
    slide = describe(make_slide(1537, 1211, 0.25, mirrored=True, downsamples=(1, 4, 16)))
    assert [grid.mpp for grid in slide.levels] == [0.25, 1.0, 4.0]


def test_a_missing_mpp_says_what_to_do(make_slide: MakeSlide) -> None:
    path = make_slide(301, 203, None)
    with pytest.raises(MppError, match=r"no µm per pixel; add a column mpp to the manifest, or pass --mpp to a run"):
        open_slide(path)
    assert open_slide(path, mpp=0.3).slide.mpp == 0.3


def test_an_ome_tiff_states_its_mpp_in_its_xml(tmp_path: Path) -> None:
    stated = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeXUnit": "µm"}
    slide = describe(write_tiles(tmp_path / "s.ome.tif", draw_tissue(40, 30), photometric="rgb", metadata=stated))
    assert (slide.mpp, slide.mpp_source) == (0.5, "ome.PhysicalSize")


def test_bounds_need_all_four_numbers() -> None:
    names = ("x", "y", "width", "height")
    properties = {f"openslide.bounds-{name}": str(n) for n, name in enumerate(names, 5)}
    assert read_bounds(properties) == Region(5, 6, 7, 8)
    for name in names:
        assert read_bounds({key: value for key, value in properties.items() if not key.endswith(f"-{name}")}) is None


def test_an_unaligned_level_has_one_value_a_pixel(make_slide: MakeSlide) -> None:
    """OpenSlide interpolates coarse levels by the corner asked for; overlapping reads must agree all the same."""
    path = make_slide(1537, 1211, mirrored=True, downsamples=(1, 3), compression="lzw", compressionargs=None, tile=112)
    reader = OpenSlideReader(describe(path))  # as of codecs that it alone reads
    level = reader.slide.levels[1]
    whole = reader.read_region(level.region, 1)
    for x, y in itertools.product((0, 17, 111, 112, 300), (0, 5, 223, 301)):
        region = Region(x, y, 150, 90)
        np.testing.assert_array_equal(reader.read_region(region, 1), whole[region.slices])
    with openslide.OpenSlide(path) as slide:
        naive = np.asarray(slide.read_region((0, 0), 1, (level.width, level.height)).convert("RGB"))
    assert np.abs(whole.astype(int) - naive).mean() < 3


KINDS: dict[str, tuple[int, dict[str, Any]]] = {
    "none": (3, {}),
    "lzw": (3, {"compression": "lzw", "predictor": True}),
    "deflate": (3, {"compression": "deflate"}),
    "packbits": (3, {"compression": "packbits"}),
    "zstd": (3, {"compression": "zstd"}),
    "jpeg": (3, {"compression": "jpeg"}),
    "grey": (1, {"compression": "lzw", "photometric": "minisblack"}),
    "grey jpeg": (1, {"compression": "jpeg", "photometric": "minisblack"}),
    "opaque": (4, {"compression": "lzw", "extrasamples": ["unassalpha"]}),
}


def write_odd_pyramid(path: Path, samples: int, writing: dict[str, Any]) -> Path:
    """Level 1 is of other pixels than level 0, and not exactly half as large."""
    with tifffile.TiffWriter(path) as file:
        for size, kind in (((201, 151), 0), ((100, 75), 1)):
            pixels = draw_tissue(*size, seed=kind)
            stored = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])[..., :samples].squeeze()
            # A first level in JPEG colours would make it a slide of the fast path.
            coding = {"photometric": "rgb", **({} if samples == 3 and kind == 0 else writing)}
            file.write(stored, tile=(32, 32), subfiletype=kind, metadata=None, **coding)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_level_of_odd_size_has_the_stored_pixels(tmp_path: Path, kind: str) -> None:
    """OpenSlide alone is off by a quarter of a pixel, differently in each stored tile."""
    path = write_odd_pyramid(tmp_path / "odd.tif", *KINDS[kind])
    reader = open_slide(path, mpp=0.25)
    assert [level.mpp for level in reader.slide.levels] == [0.25, 0.5]
    with openslide.OpenSlide(path) as slide:  # from the corner it does not interpolate
        stored = np.asarray(slide.read_region((0, 0), 1, (100, 75)).convert("RGB"))
    for region in (Region(0, 0, 100, 75), Region(13, 9, 40, 40), Region(66, 34, 34, 40)):
        np.testing.assert_array_equal(reader.read_region(region, 1), stored[region.slices])
    reader.close()
    np.testing.assert_array_equal(reader.read_region(Region(0, 0, 100, 75), 1), stored)
    assert (reader.read_region(Region(95, 68, 20, 20), 1)[7:, 5:] == 255).all()


def test_an_aperio_level_of_odd_size_in_jpeg_2000_has_the_stored_pixels(make_slide: MakeSlide) -> None:
    path = make_slide(903, 701, tile=112, downsamples=(1, 2), compression="aperio_jp2000_rgb", compressionargs=None)
    reader = open_slide(path)
    level = reader.slide.levels[1]
    with openslide.OpenSlide(path) as slide:
        stored = np.asarray(slide.read_region((0, 0), 1, (level.width, level.height)).convert("RGB"))
    np.testing.assert_array_equal(reader.read_region(level.region, 1), stored)


@pytest.mark.parametrize("kind", ["deflate", "grey jpeg"])
def test_a_broken_tile_of_a_level_of_odd_size_is_white_and_counted(tmp_path: Path, kind: str) -> None:
    path = write_odd_pyramid(tmp_path / "odd.tif", *KINDS[kind])
    whole = open_slide(path, mpp=0.25).read_region(Region(0, 0, 100, 75), 1)
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[1].dataoffsets[5], file.pages[1].databytecounts[5]  # of 4 in a row
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = bytes(count)
    path.write_bytes(data)
    whole[32:64, 32:64] = 255
    reader = open_slide(path, mpp=0.25)
    np.testing.assert_array_equal(reader.read_region(Region(0, 0, 100, 75), 1), whole)
    assert reader.unreadable_pixels == 32 * 32


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_plain_images(tmp_path: Path, ending: str, mode: str) -> None:
    path = tmp_path / f"image.{ending}"
    Image.fromarray(draw_tissue(123, 77)).convert(mode).save(path)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB"))
    reader = open_slide(path, mpp=0.5)
    assert reader.slide.levels == (Grid(123, 77, 0.5),)
    assert (reader.slide.mpp_source, reader.slide.vendor) == ("manifest", "image")
    np.testing.assert_array_equal(reader.read_region(Region(0, 0, 123, 77), 0), expected)
    over = reader.read_region(Region(-10, 70, 20, 20), 0)
    np.testing.assert_array_equal(over[:7, 10:], expected[70:, :10])
    assert (over[:, :10] == 255).all()
    assert (over[7:] == 255).all()
    reader.close()
    np.testing.assert_array_equal(reader.read_region(Region(0, 0, 123, 77), 0), expected)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_those_stored_whatever_the_orientation(tmp_path: Path, ending: str, orientation: int) -> None:
    exif = Image.Exif()
    for name, stated in (("plain", 1), ("turned", orientation)):
        exif[274] = stated
        Image.fromarray(draw_tissue(40, 30)).save(tmp_path / f"{name}.{ending}", exif=exif)
    plain, turned = (open_slide(tmp_path / f"{name}.{ending}", mpp=1) for name in ("plain", "turned"))
    assert turned.slide.levels == plain.slide.levels == (Grid(40, 30, 1),)
    whole = Region(0, 0, 40, 30)
    np.testing.assert_array_equal(turned.read_region(whole, 0), plain.read_region(whole, 0))


def test_a_transparent_image_lies_on_white(tmp_path: Path) -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:2] = (10, 20, 30, 255)
    Image.fromarray(rgba).save(tmp_path / "clear.png")
    pixels = open_slide(tmp_path / "clear.png", mpp=1).read_region(Region(0, 0, 4, 4), 0)
    assert (pixels[:2] == (10, 20, 30)).all()
    assert (pixels[2:] == 255).all()


def test_an_image_states_no_mpp_even_with_a_resolution(tmp_path: Path) -> None:
    Image.fromarray(draw_tissue(40, 30)).save(tmp_path / "image.tif", dpi=(25400, 25400))
    with pytest.raises(MppError, match="--mpp"):
        open_slide(tmp_path / "image.tif")


def test_a_huge_image_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(draw_tissue(60, 50)).save(tmp_path / "image.png")
    for limit in (2000, 1000):  # Pillow warns above one limit and refuses above twice as many pixels
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(SlideError, match=f"more than {limit} pixels; convert it to a pyramidal TIFF"):
            open_slide(tmp_path / "image.png", mpp=1)


def write_tiles(path: Path, pixels: NDArray[Any], **writing: Any) -> Path:
    tifffile.imwrite(path, pixels, tile=(16, 16), **writing)
    return path


@pytest.mark.parametrize(("shape", "meaning"), [((40, 30), "minisblack"), ((40, 30, 3), "rgb")])
def test_a_deep_image_is_refused(tmp_path: Path, shape: tuple[int, ...], meaning: str) -> None:
    pixels = np.full(shape, 2000, np.uint16)
    tifffile.imwrite(tmp_path / "strips.tif", pixels, photometric=meaning)
    write_tiles(tmp_path / "tiles.tif", pixels, photometric=meaning)
    write_tiles(tmp_path / "float.tif", pixels.astype(np.float32), photometric=meaning)
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(pixels))
    for path in tmp_path.iterdir():
        with pytest.raises(SlideError, match=r"expected 8 .*; convert it to 8-bit RGB"):
            open_slide(path, mpp=1)


@pytest.mark.parametrize("ending", ["jp2", "j2k"])
@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 3)])
def test_a_deep_jpeg_2000_image_is_refused(tmp_path: Path, shape: tuple[int, ...], ending: str) -> None:
    path = tmp_path / f"image.{ending}"
    pixels = np.full(shape, 200, np.uint16)
    path.write_bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat=ending))
    with pytest.raises(SlideError, match="more than 8 bits a colour"):
        open_slide(path, mpp=1)
    path.write_bytes(imagecodecs.jpeg2k_encode(pixels.astype(np.uint8), level=0, codecformat=ending))
    assert (open_slide(path, mpp=1).read_region(Region(0, 0, 30, 40), 0) == 200).all()


@pytest.mark.parametrize("samples", [2, 5])
def test_channels_of_a_fluorescence_scanner_are_refused(tmp_path: Path, samples: int) -> None:
    pixels = np.zeros((40, 30, samples), np.uint8)
    path = write_tiles(tmp_path / "channels.tif", pixels, photometric="minisblack", planarconfig="contig")
    with pytest.raises(SlideError, match=f"{samples} × 8 bits a pixel, expected 8 bits for grey or for each colour"):
        open_slide(path, mpp=1)


@pytest.mark.parametrize("tile", [(16, 16), None])
@pytest.mark.parametrize("ending", ["ome.tif", "tif"])
def test_channels_in_pages_of_their_own_are_refused(tmp_path: Path, tile: tuple[int, int] | None, ending: str) -> None:
    """As fluorescence is stored, and RGB by converters that are not told otherwise."""
    path = tmp_path / f"channels.{ending}"
    stated = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(path, np.zeros((3, 40, 30), np.uint8), tile=tile, metadata=stated, photometric="minisblack")
    with pytest.raises(SlideError, match="3 channels or planes in pages of their own, expected one page"):
        open_slide(path, mpp=0.5)


@pytest.mark.parametrize("tile", [None, (256, 256)])
@pytest.mark.parametrize("first", [1, 4])
def test_a_first_page_that_is_not_the_image_alone_is_refused(
    tmp_path: Path, tile: tuple[int, int] | None, first: int
) -> None:
    pixels = draw_tissue(600, 400)
    with tifffile.TiffWriter(tmp_path / "stack.tif") as file:
        for page in (pixels[::first, ::first], pixels):
            file.write(page, photometric="rgb", tile=tile)
    with pytest.raises(SlideError, match="a page of 600 × 400 pixels behind a first one of"):
        describe(tmp_path / "stack.tif", mpp=0.5)


def test_a_grey_pyramid_with_a_mask_and_an_overview_is_no_set_of_channels(tmp_path: Path) -> None:
    path = tmp_path / "grey.tif"
    with tifffile.TiffWriter(path) as file:
        for side, kind in ((64, 0), (32, 1), (64, 4), (20, 0)):
            pixels = np.ones((side, side), bool if kind == 4 else np.uint8)
            file.write(pixels, tile=(16, 16), subfiletype=kind, photometric="minisblack", metadata=None)
    assert [level.width for level in open_slide(path, mpp=1).slide.levels] == [64, 32]


@pytest.mark.parametrize(
    ("samples", "writing"),
    [
        (1, {"photometric": "minisblack"}),
        (3, {"photometric": "rgb"}),
        (3, {"photometric": "rgb", "planarconfig": "separate"}),
        (3, {"photometric": "rgb", "compression": "jpeg"}),
        (4, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    ],
)
def test_grey_and_colours_of_8_bits_are_read(tmp_path: Path, samples: int, writing: dict[str, Any]) -> None:
    pixels = np.full((40, 30, samples), 200, np.uint8)
    stored = np.moveaxis(pixels, 2, 0) if "planarconfig" in writing else pixels.squeeze()
    reader = open_slide(write_tiles(tmp_path / "sound.tif", stored, **writing), mpp=1)
    shown = reader.read_region(Region(0, 0, 30, 40), 0)
    assert shown.min() == shown.max() >= 199


def test_a_damaged_image_fails_when_read(tmp_path: Path) -> None:
    Image.fromarray(draw_tissue(200, 200)).save(tmp_path / "image.png")
    data = (tmp_path / "image.png").read_bytes()
    (tmp_path / "image.png").write_bytes(data[: len(data) // 2])
    reader = open_slide(tmp_path / "image.png", mpp=1)
    with pytest.raises(SlideError, match="cannot be decoded"):
        reader.read_region(Region(0, 0, 9, 9), 0)


def cut_file(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("real", [True, False])
def test_a_truncated_slide(make_slide: MakeSlide, cmu_1: Path, tmp_path: Path, share: float, real: bool) -> None:
    path = Path(shutil.copy(cmu_1, tmp_path)) if real else make_slide(701, 547, mirrored=True)
    check_refusal(cut_file(path, share))


def check_refusal(path: Path) -> str:
    with pytest.raises(SlideError) as caught:
        open_slide(path, mpp=0.5)
    line = str(caught.value)
    assert "\n" not in line
    assert str(path) in line
    assert ";" in line or "expected" in line
    return line


def test_a_file_cut_behind_its_directories_is_called_truncated(make_slide: MakeSlide) -> None:
    path = make_slide(701, 547, mirrored=True, downsamples=(1,))
    assert "truncated at" in check_refusal(cut_file(path, 0.9))


def test_files_that_are_no_slides(tmp_path: Path) -> None:
    (tmp_path / "empty.svs").touch()
    assert "empty" in check_refusal(tmp_path / "empty.svs")
    (tmp_path / "text.svs").write_text("case,slide\n" * 100)
    assert "though it ends in .svs" in check_refusal(tmp_path / "text.svs")
    (tmp_path / "text.png").write_text("case,slide\n" * 100)
    assert "neither a slide nor an image" in check_refusal(tmp_path / "text.png")
    assert "no such file" in check_refusal(tmp_path / "missing.svs")
    (tmp_path / "folder").mkdir()
    assert "without a slide" in check_refusal(tmp_path / "folder")


def test_an_mrxs_file_without_its_folder_is_not_taken_for_its_thumbnail(tmp_path: Path) -> None:
    Image.fromarray(draw_tissue(90, 60)).save(tmp_path / "slide.mrxs", format="jpeg")
    assert "files and folders that belong to it" in check_refusal(tmp_path / "slide.mrxs")
    (tmp_path / "slide").mkdir()
    (tmp_path / "slide" / "Slidedat.ini").write_text("[GENERAL]\n")
    with pytest.raises(SlideError, match=r"slide\.mrxs"):
        open_slide(tmp_path / "slide", mpp=1)


def test_an_image_with_a_wrong_ending_is_still_that_image(tmp_path: Path) -> None:
    Image.fromarray(draw_tissue(50, 40)).save(tmp_path / "image.jpg", format="png")
    assert open_slide(tmp_path / "image.jpg", mpp=1).slide.codec == "png"


def test_a_slide_with_a_wrong_ending_is_still_that_slide(cmu_1: Path, tmp_path: Path) -> None:
    assert describe(shutil.copy(cmu_1, tmp_path / "slide.jpg")).vendor == "aperio"


def test_a_file_that_may_not_be_read(cmu_1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(shutil.copy(cmu_1, tmp_path))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    assert "change its permissions" in check_refusal(path)


def test_a_file_on_a_broken_disk(cmu_1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", fail)
    assert "Input/output error" in check_refusal(cmu_1)


@pytest.mark.parametrize("kind", [JpegTiffReader, OpenSlideReader])
def test_a_slide_that_went_away(cmu_1: Path, tmp_path: Path, kind: type) -> None:
    path = Path(shutil.copy(cmu_1, tmp_path))
    slide = describe(path)
    reader = make_reader(slide) if kind is JpegTiffReader else OpenSlideReader(slide)
    path.unlink()
    with pytest.raises(SlideError, match=r"[Nn]o such file"):
        reader.read_region(Region(0, 0, 9, 9), 0)


@pytest.fixture
def no_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_readers", type(opening._readers)())


@pytest.mark.usefixtures("no_readers")
def test_a_process_keeps_the_readers_used_last(make_slide: MakeSlide) -> None:
    slides = [describe(make_slide(203, 101, name=f"{n}.svs")) for n in range(OPEN_READERS + 1)]
    first = reader_of(slides[0])
    assert reader_of(slides[0]) is first
    for slide in slides[1:OPEN_READERS]:
        reader_of(slide)
    assert reader_of(slides[0]) is first
    reader_of(slides[OPEN_READERS])
    assert reader_of(slides[0]) is first
    assert len(opening._readers) == OPEN_READERS
    closed = slides[1]
    assert all(reader.slide != closed for reader in opening._readers.values())


def read_sum(slide: Slide) -> int:
    return int(reader_of(slide).read_region(Region(7, 7, 100, 80), 0).sum())


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_other_processes_read_by_the_description(cmu_1: Path, start: str) -> None:
    slide = describe(cmu_1)
    here = read_sum(slide)
    with ProcessPoolExecutor(1, multiprocessing.get_context(start)) as pool:
        assert pool.submit(read_sum, slide).result(60) == here
