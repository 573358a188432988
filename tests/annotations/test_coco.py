from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely import MultiPolygon
from skimage.measure import points_in_poly

from tests.annotations.masks import DRAWERS, GLAND, NUCLEUS, TARGETS, draw_mask, make_slide, trace_blocks
from tests.peers import ask_peer
from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.coco import write_coco
from wsiparse.annotations.polygons import join_blocks
from wsiparse.errors import OutputError
from wsiparse.geometry import Grid
from wsiparse.slides.slide import Slide

SLIDES = tuple(Slide(id, f"/slides/{id}.svs", (Grid(300, 200, 0.5),), "manifest") for id in ("s1", "s2"))
RING = shapely.box(10, 10, 30, 40) - shapely.box(15, 15, 20, 20) - shapely.box(24, 30, 26, 38)


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def fill(segmentation: list[list[float]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """What an even-odd filling of each part paints; points within pixels, off every slit's line."""
    rows, columns = np.indices(shape)
    points = np.column_stack([columns.ravel() + 0.3711, rows.ravel() + 0.6173])
    painted = np.zeros(points.shape[0], bool)
    for part in segmentation:
        painted |= points_in_poly(points, np.reshape(part, (-1, 2)))  # type: ignore[no-untyped-call]
    return painted.reshape(shape)


@settings(deadline=None, max_examples=40)
@given(kind=st.sampled_from(sorted(DRAWERS)), seed=st.integers(0, 1000))
def test_filling_the_polygons_gives_the_label_map_again(
    tmp_path_factory: pytest.TempPathFactory, kind: str, seed: int
) -> None:
    labels = draw_mask(kind, seed)
    grid, slide = make_slide(labels, 1.0)
    exact = join_blocks(trace_blocks(labels, None, 1000), TARGETS, grid, slide.grid, 0.0)
    path = tmp_path_factory.mktemp("coco") / "coco.json"
    write_coco([(slide, exact)], path, TARGETS)
    painted = np.zeros(labels.shape, int)
    for entry in read(path)["annotations"]:
        inside = fill(entry["segmentation"], labels.shape)
        assert entry["area"] == inside.sum()
        painted += entry["category_id"] * inside
    assert np.array_equal(painted, labels)


def test_the_document_names_slides_targets_and_scores(tmp_path: Path) -> None:
    parts = MultiPolygon([shapely.box(1, 2, 4, 6), shapely.box(10, 10, 11, 11)])
    first = [Annotation("nucleus", RING, 3.0, 0.75), Annotation("unknown", RING, 3.0)]
    count = write_coco(
        [(SLIDES[0], first), (SLIDES[1], [Annotation("gland", parts, 3.25)])], tmp_path / "a.json", TARGETS
    )
    document = read(tmp_path / "a.json")
    assert count == 2
    assert [(image["id"], image["file_name"], image["width"], image["height"]) for image in document["images"]] == [
        (1, "s1.svs", 300, 200),
        (2, "s2.svs", 300, 200),
    ]
    assert document["categories"] == [
        {"id": 1, "name": GLAND.name, "supercategory": GLAND.group},
        {"id": 2, "name": NUCLEUS.name, "supercategory": NUCLEUS.group},
    ]
    nucleus, gland = document["annotations"]
    assert (nucleus["id"], nucleus["image_id"], nucleus["category_id"], nucleus["score"]) == (1, 1, 2, 0.75)
    assert (nucleus["bbox"], nucleus["area"], nucleus["iscrowd"]) == ([10, 10, 20, 30], 559, 0)
    assert (gland["id"], gland["image_id"], gland["category_id"]) == (2, 2, 1)
    assert "score" not in gland
    assert len(gland["segmentation"]) == 2
    assert gland["bbox"] == [1, 2, 10, 9]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/in/a.svs", "/in/more/b.svs"], ["a.svs", "b.svs"]),
        (["/in/a.svs", "/in/a.svs"], ["a.svs", "a.svs"]),
        (["/in/one/a.svs", "/in/two/a.svs", "/in/b.svs"], ["one/a.svs", "two/a.svs", "b.svs"]),
        (["s3://lab/one/a.svs", "s3://lab/two/a.svs"], ["one/a.svs", "two/a.svs"]),
        (["/in/a.svs", "s3://lab/a.svs"], ["/in/a.svs", "s3://lab/a.svs"]),
    ],
)
def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path, paths: list[str], names: list[str]) -> None:
    slides = [Slide(str(n), path, (Grid(300, 200, 0.5),), "manifest") for n, path in enumerate(paths)]
    write_coco([(slide, []) for slide in slides], tmp_path / "a.json", TARGETS)
    assert [image["file_name"] for image in read(tmp_path / "a.json")["images"]] == names


def test_no_annotations_are_a_document_too(tmp_path: Path) -> None:
    assert write_coco([(SLIDES[0], [])], tmp_path / "a.json", TARGETS) == 0
    assert read(tmp_path / "a.json")["annotations"] == []


def test_a_failure_midway_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> Iterator[Annotation]:
        yield Annotation("gland", RING, 1.0)
        raise OutputError("damaged")

    with pytest.raises(OutputError, match="damaged"):
        write_coco([(SLIDES[0], fail())], tmp_path / "a.json", TARGETS)
    assert list(tmp_path.iterdir()) == []


READ = """
import json, sys
from pycocotools.coco import COCO
document = COCO(sys.argv[1])
masks = [document.annToMask(entry) for entry in document.loadAnns(document.getAnnIds(catIds=[1]))]
holes = [int(masks[0][15:20, 15:20].sum()), int(masks[0][30:38, 24:26].sum())]
print(json.dumps([[list(mask.shape) for mask in masks], [int(mask.sum()) for mask in masks], holes]))
"""


@pytest.mark.peers
def test_pycocotools_paints_shells_and_leaves_holes_open(tmp_path: Path) -> None:
    drawn = [Annotation("gland", RING, 1.0), Annotation("nucleus", shapely.box(0, 0, 4, 4), 1.0)]
    write_coco([(SLIDES[0], drawn)], tmp_path / "a.json", TARGETS)
    shapes, sums, holes = ask_peer("pycocotools", READ, str(tmp_path / "a.json"))
    assert shapes == [[200, 300]]
    assert sums == [RING.area]
    assert holes == [0, 0]
