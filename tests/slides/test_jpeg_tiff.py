from __future__ import annotations

import contextlib
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import MakeSlide
from tests.drawing import mirror_cmu_1, write_slide
from wsiparse.errors import SlideError
from wsiparse.geometry import Region
from wsiparse.slides.jpeg_tiff import JpegTiffReader
from wsiparse.slides.open import describe, open_slide
from wsiparse.slides.openslide import OpenSlideReader
from wsiparse.slides.slide import Pixels, Reader
from wsiparse.slides.tiff import read_jpeg_levels
from wsiparse.slides.tile_cache import TileCache

CODINGS: dict[str, dict[str, Any]] = {
    "ycbcr": {},
    "rgb": {"compressionargs": {"level": 85, "outcolorspace": 2}},
    "subsampled": {"subsampling": (2, 2)},
    "tile 256": {"tile": 256},
}


def read_openslide_level(path: Path, level: int) -> Pixels:
    """A whole level from its corner, where OpenSlide does not interpolate, composited on white."""
    with openslide.OpenSlide(path) as slide:
        image = slide.read_region((0, 0), level, slide.level_dimensions[level])
    rgba = np.asarray(image).astype(np.float64)
    alpha = rgba[..., 3:] / 255
    pixels: Pixels = np.round(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return pixels


def crop_on_white(level: Pixels, region: Region) -> Pixels:
    """Brute force: every pixel by itself."""
    pixels = np.full((region.height, region.width, 3), 255, np.uint8)
    for row in range(region.height):
        for column in range(region.width):
            y, x = region.y + row, region.x + column
            if 0 <= y < level.shape[0] and 0 <= x < level.shape[1]:
                pixels[row, column] = level[y, x]
    return pixels


@pytest.mark.parametrize("coding", CODINGS)
def test_every_level_equals_openslide(make_slide: MakeSlide, coding: str) -> None:
    path = make_slide(1537, 1211, mirrored=True, downsamples=(1, 4, 16), **CODINGS[coding])
    reader = open_slide(path)
    assert isinstance(reader, JpegTiffReader)
    for level, grid in enumerate(reader.slide.levels):
        np.testing.assert_array_equal(reader.read_region(grid.region, level), read_openslide_level(path, level))


def test_the_real_slide_with_shared_tables_equals_openslide(cmu_1: Path) -> None:
    reader = open_slide(cmu_1)
    assert isinstance(reader, JpegTiffReader)
    np.testing.assert_array_equal(reader.read_region(reader.slide.grid.region, 0), read_openslide_level(cmu_1, 0))
    with openslide.OpenSlide(cmu_1) as slide:
        expected = np.asarray(slide.read_region((-37, 2801), 0, (613, 401)).convert("RGBA"))
    pixels = reader.read_region(Region(-37, 2801, 613, 401), 0)
    np.testing.assert_array_equal(pixels[expected[..., 3] == 255], expected[expected[..., 3] == 255][:, :3])
    assert (pixels[expected[..., 3] == 0] == 255).all()


@pytest.fixture(scope="module")
def odd_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("odd") / "odd.svs"
    return write_slide(path, (701, 547), 0.25, mirror_cmu_1(), tile=112, downsamples=(1, 4))


@pytest.fixture(scope="module")
def odd_levels(odd_slide: Path) -> list[Pixels]:
    return [read_openslide_level(odd_slide, level) for level in (0, 1)]


@pytest.fixture(scope="module", params=[1, 3], ids=["one thread", "three threads"])
def odd_reader(odd_slide: Path, request: pytest.FixtureRequest) -> Reader:
    slide = describe(odd_slide)
    tiles = read_jpeg_levels(odd_slide, [(level.width, level.height) for level in slide.levels])
    return JpegTiffReader(slide, tiles, threads=request.param)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    x=st.integers(-150, 800),
    y=st.integers(-150, 650),
    width=st.integers(0, 260),
    height=st.integers(0, 260),
    level=st.integers(0, 1),
)
def test_any_region_is_the_crop_of_the_whole(
    odd_reader: Reader, odd_levels: list[Pixels], x: int, y: int, width: int, height: int, level: int
) -> None:
    region = Region(x // 4**level, y // 4**level, width, height)
    expected = np.pad(odd_levels[level], ((600, 900), (600, 900), (0, 0)), constant_values=255)
    crop = expected[600 + region.y :, 600 + region.x :][: region.height, : region.width]
    np.testing.assert_array_equal(odd_reader.read_region(region, level), crop)


def test_over_all_four_edges(odd_reader: Reader, odd_levels: list[Pixels]) -> None:
    for region in (Region(-3, -5, 30, 20), Region(690, 530, 30, 40), Region(-9, 540, 20, 20), Region(2000, 9, 5, 5)):
        np.testing.assert_array_equal(odd_reader.read_region(region, 0), crop_on_white(odd_levels[0], region))


def test_threads_read_the_same_at_once(odd_slide: Path, odd_levels: list[Pixels]) -> None:
    reader = open_slide(odd_slide)
    regions = [Region(x, y, 200, 150) for x in range(0, 500, 61) for y in range(0, 390, 71)]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda region: reader.read_region(region, 0), regions))
    for region, pixels in zip(regions, results, strict=True):
        np.testing.assert_array_equal(pixels, odd_levels[0][region.slices])


def test_a_reader_closed_while_others_read_opens_again(odd_slide: Path, odd_levels: list[Pixels]) -> None:
    reader = open_slide(odd_slide)

    def read(n: int) -> bool:
        if n % 3 == 0:
            reader.close()
        return np.array_equal(reader.read_region(Region(n, n, 130, 130), 0), odd_levels[0][n : n + 130, n : n + 130])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(60)))


def broken_tile(path: Path, index: int, damage: str, page: int = 0) -> Path:
    """Overwrite bytes of one stored tile."""
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[page].dataoffsets[index], file.pages[page].databytecounts[index]
    rng = np.random.default_rng(5)
    start, data = {
        "noise": (offset, rng.bytes(count)),
        "zeros": (offset, bytes(count)),
        "hole": (offset + count // 2, bytes(count // 4)),
        "noise inside": (offset + count // 2, rng.bytes(count // 4)),
        "cut": (offset + count // 2, bytes(count - count // 2)),
    }[damage]
    with path.open("r+b") as file_on_disk:
        file_on_disk.seek(start)
        file_on_disk.write(data)
    return path


@pytest.mark.parametrize("damage", ["noise", "zeros", "hole", "noise inside", "cut"])
@pytest.mark.parametrize("fast", [True, False], ids=["fast", "openslide"])
def test_a_broken_tile_costs_its_own_pixels_only(
    make_slide: MakeSlide, damage: str, fast: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_slide(701, 547, mirrored=True, tile=112, downsamples=(1, 4))
    whole = read_openslide_level(path, 0)
    broken_tile(path, 7 * 2 + 3, damage)
    reader = open_slide(path) if fast else OpenSlideReader(describe(path))
    lost = Region(3 * 112, 2 * 112, 112, 112)
    expected = whole.copy()
    expected[lost.slices] = 255
    np.testing.assert_array_equal(reader.read_region(reader.slide.grid.region, 0), expected)
    assert reader.unreadable_pixels == lost.area
    assert "cannot be decoded" in caplog.text

    part = Region(400, 200, 300, 100)
    np.testing.assert_array_equal(reader.read_region(part, 0), expected[part.slices])
    assert reader.unreadable_pixels == lost.area + part.intersect(lost).area
    far = Region(10, 300, 200, 200)
    np.testing.assert_array_equal(reader.read_region(far, 0), expected[far.slices])
    assert reader.unreadable_pixels == lost.area + part.intersect(lost).area


def read_in_child(reader: Reader) -> int:
    return int(reader.read_region(Region(5, 5, 333, 222), 0).sum())


@pytest.mark.parametrize("kind", [JpegTiffReader, OpenSlideReader])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_reads_with_an_inherited_reader(odd_slide: Path, kind: type) -> None:
    reader = open_slide(odd_slide) if kind is JpegTiffReader else OpenSlideReader(describe(odd_slide))
    here = read_in_child(reader)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(read_in_child(reader)))
    child.start()
    assert receiver.poll(30)
    assert receiver.recv() == here
    child.join(30)
    assert child.exitcode == 0


@pytest.mark.parametrize("codec", ["deflate", "lzw", "aperio_jp2000_rgb"])
def test_other_codecs_go_to_openslide(make_slide: MakeSlide, codec: str) -> None:
    reader = open_slide(make_slide(301, 203, compression=codec, compressionargs=None))
    assert isinstance(reader, OpenSlideReader)
    assert reader.slide.codec == {"aperio_jp2000_rgb": "jpeg2000"}.get(codec, codec)
    assert reader.read_region(Region(0, 0, 301, 203), 0).std() > 5


def test_two_levels_of_one_size_go_to_openslide(make_slide: MakeSlide) -> None:
    assert read_jpeg_levels(make_slide(301, 203, downsamples=(1, 1)), [(301, 203)]) == ()


def test_neighbours_share_the_tiles_between_them(odd_slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = open_slide(odd_slide)
    decode, decoded = imagecodecs.jpeg8_decode, []

    def count(*values: Any, **options: Any) -> Any:
        decoded.append(1)
        return decode(*values, **options)

    monkeypatch.setattr(imagecodecs, "jpeg8_decode", count)
    reader.read_region(Region(50, 50, 224, 112), 0)  # 3 × 2 tiles, of which 1 column is inside
    assert len(decoded) == 6
    reader.read_region(Region(274, 50, 112, 112), 0)  # 2 × 2 tiles, of which the left column is known
    assert len(decoded) == 8


def test_kept_tiles_are_bounded() -> None:
    tile = np.zeros((10, 10, 3), np.uint8)
    cache = TileCache(limit_bytes=3 * tile.nbytes)
    for index in range(5):
        cache.put((0, index), tile + index)
        cache.get((0, 2))
    kept = [index for index in range(5) if cache.get((0, index)) is not None]
    assert kept == [2, 3, 4]
    cache.clear()
    assert cache.get((0, 2)) is None


def test_damaged_directories_are_refused_or_read(make_slide: MakeSlide) -> None:
    path = make_slide(301, 203, mirrored=True, tile=112)
    data = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        starts = [page.offset for page in file.pages]
    rng = np.random.default_rng(7)
    for start in starts * 20:
        damaged = bytearray(data)
        damaged[start + int(rng.integers(0, 300))] = int(rng.integers(256))
        path.write_bytes(damaged)
        with contextlib.suppress(SlideError):
            reader = open_slide(path, mpp=0.5)
            assert reader.read_region(Region(5, 5, 50, 50), 0).shape == (50, 50, 3)


def test_tiles_of_an_impossible_size_are_refused(make_slide: MakeSlide) -> None:
    path = make_slide(301, 203)
    with tifffile.TiffFile(path) as file:
        tags = [file.pages.first.tags[name] for name in ("TileWidth", "TileLength")]
    data = bytearray(path.read_bytes())
    for tag in tags:
        data[tag.offset + 12 : tag.offset + 16] = (200_000).to_bytes(4, "little")
        data[tag.offset + 2 : tag.offset + 4] = (4).to_bytes(2, "little")
    path.write_bytes(data)
    with pytest.raises(SlideError, match="states tiles of 200000 × 200000"):
        open_slide(path)
