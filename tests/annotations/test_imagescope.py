"""ImageScope's XML: layers, pens, shapes, and what goes wrong with them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import shapely

from wsiparse.annotations.geojson import Labels
from wsiparse.annotations.imagescope import read_imagescope
from wsiparse.annotations.labels import read_annotations
from wsiparse.errors import ReferenceFileError
from wsiparse.geometry import Grid, Region
from wsiparse.slides.slide import Slide

DRAWN = Path(__file__).parents[1] / "data" / "imagescope.xml"
SLIDE = Slide("s1", "s1.svs", (Grid(1000, 800, 0.5),), "manifest", Region(50, 60, 700, 600))
SQUARE = [(0, 0), (10, 0), (10, 10), (0, 10)]


def region(points: Sequence[tuple[object, object]], **attributes: object) -> str:
    texts = "".join(f' {name}="{value}"' for name, value in attributes.items())
    vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in points)
    return f"<Region{texts}><Vertices>{vertices}</Vertices></Region>"


def layer(*regions: str, **attributes: object) -> str:
    texts = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f"<Annotation{texts}><Regions>{''.join(regions)}</Regions></Annotation>"


def read(tmp_path: Path, *layers: str) -> Labels:
    path = tmp_path / "labels.xml"
    path.write_text(f"<Annotations>{''.join(layers)}</Annotations>", encoding="utf-8")
    return read_imagescope(path, SLIDE)


def test_a_file_of_three_layers_says_what_was_drawn() -> None:
    labels = read_imagescope(DRAWN, SLIDE)
    assert [annotation.target for annotation in labels.annotations] == ["Tumour", "Tumour", "Nécrose", "layer 7"]
    areas = [annotation.polygon.area for annotation in labels.annotations]
    assert areas == pytest.approx([1600 - 100, 600, math.pi * 20 * 10, 200], rel=1e-3)
    assert [annotation.area_um2 for annotation in labels.annotations] == pytest.approx([area / 4 for area in areas])
    assert (labels.skipped, labels.repaired) == (1, 1)  # the ruler; the bow tie
    assert labels.annotations[0].polygon.bounds == (100, 100, 140, 140)
    assert labels.annotations[2].polygon.bounds == pytest.approx((300, 300, 340, 320))
    assert all(annotation.polygon.is_valid and annotation.probability is None for annotation in labels.annotations)


def test_a_single_layer_without_a_name_has_the_empty_class(tmp_path: Path) -> None:
    one = layer(region(SQUARE), Id=1, Name="")
    assert [entry.target for entry in read(tmp_path, one, layer(Id=2)).annotations] == [""]
    assert [entry.target for entry in read(tmp_path, one, one.replace('"1"', '"5"')).annotations] == [
        "layer 1",
        "layer 5",
    ]


def test_the_negative_pen_cuts_its_own_layer_only(tmp_path: Path) -> None:
    hole = region([(2, 2), (4, 2), (4, 4), (2, 4)], NegativeROA=1)
    labels = read(tmp_path, layer(hole, region(SQUARE), Name="a"), layer(region(SQUARE), Name="b"))
    assert [entry.polygon.area for entry in labels.annotations] == [96, 100]
    assert labels.skipped == 0


def test_a_hole_in_nothing_and_a_shape_cut_away_are_skipped(tmp_path: Path) -> None:
    hole = region([(-1, -1), (11, -1), (11, 11), (-1, 11)], NegativeROA=1)
    astray = region([(50, 50), (60, 50), (60, 60)], NegativeROA=1)
    labels = read(tmp_path, layer(region(SQUARE), hole, astray))
    assert (len(labels.annotations), labels.skipped) == (0, 2)
    beside = region([(10, 0), (20, 0), (20, 10), (10, 10)], NegativeROA=1)
    labels = read(tmp_path, layer(region(SQUARE), beside))
    assert (len(labels.annotations), labels.skipped) == (1, 1)


@pytest.mark.parametrize(
    ("drawn", "area"),
    [
        (region([(0, 0), (30, 20)], Type=1), 600),
        (region([(0, 0), (30, 0), (30, 20), (0, 20)], Type=1), 600),
        (region([(0, 10), (15, 0), (30, 10), (15, 20)], Type=2), math.pi * 15 * 10),
        (region([(0, 0), (10, 0), (10, 10), (5, 10), (0, 10)], Type=2), 100),
        (region([*SQUARE, SQUARE[0]]), 100),
        (region(SQUARE).replace("Vertex ", "V "), 100),
    ],
    ids=["two corners", "four corners", "ellipse", "ellipse as an outline", "closed", "V"],
)
def test_shapes_enclose_what_they_show(tmp_path: Path, drawn: str, area: float) -> None:
    (annotation,) = read(tmp_path, layer(drawn)).annotations
    assert annotation.polygon.area == pytest.approx(area, rel=1e-3)


@pytest.mark.parametrize(
    "drawn",
    [
        region([]),
        region(SQUARE[:2]),
        region([(5, 5)] * 9),
        region([(0, 0), (5, 5), (10, 10)]),
        region(SQUARE, Type=3),
        region(SQUARE, Type=5),
        region([(1, 1)], Type=1),
        region([(1, 1), (1, 9)], Type=2),
    ],
)
def test_what_encloses_no_area_is_skipped_and_counted(tmp_path: Path, drawn: str) -> None:
    labels = read(tmp_path, layer(drawn, region(SQUARE)))
    assert (len(labels.annotations), labels.skipped) == (1, 1)


@pytest.mark.parametrize("value", ["NaN", "inf", "-Infinity", "", "12,5", "0x10", "1e999"])
def test_a_coordinate_that_is_no_number_is_refused_with_its_line(tmp_path: Path, value: str) -> None:
    with pytest.raises(ReferenceFileError, match=r"labels\.xml: line 1: coordinates .* export it again"):
        read(tmp_path, layer(region([*SQUARE, (value, 3)])))


def test_a_vertex_without_x_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReferenceFileError, match="coordinates"):
        read(tmp_path, layer(region(SQUARE).replace('X="10"', "")))


@pytest.mark.parametrize("part", [region(SQUARE), '<Annotation><Vertex X="1" Y="1"/></Annotation>'])
def test_parts_out_of_place_are_refused(tmp_path: Path, part: str) -> None:
    with pytest.raises(ReferenceFileError, match="outside of any"):
        read(tmp_path, part)


def test_an_empty_document_has_no_annotations(tmp_path: Path) -> None:
    assert read(tmp_path) == Labels(())


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    data = DRAWN.read_bytes()
    path = tmp_path / "cut.xml"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ReferenceFileError, match="export it again"):
        read_imagescope(path, SLIDE)


def test_the_format_is_found_by_content(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(b"\xef\xbb\xbf\n" + DRAWN.read_bytes().replace(b"\n", b"\r\n"))
    assert read_annotations(path, SLIDE) == read_imagescope(DRAWN, SLIDE)
    path.write_text('{"type": "FeatureCollection", "features": []}', encoding="utf-8")
    assert read_annotations(path, SLIDE) == Labels(())
    path.write_text("<svg/>", encoding="utf-8")
    with pytest.raises(ReferenceFileError, match="root Annotations or ASAP_Annotations"):
        read_annotations(path, SLIDE)
    with pytest.raises(ReferenceFileError, match="correct the path"):
        read_annotations(tmp_path / "none", SLIDE)


@pytest.mark.shared_data
def test_the_nuclei_of_monuseg_are_as_large_as_imagescope_says(shared_data: Path) -> None:
    files = sorted((shared_data / "monuseg" / "test").glob("*.xml"))
    assert files
    for file in files:
        labels = read_imagescope(file, SLIDE)
        stated = [float(text) for text in re.findall(r'<Region .*? Area="([0-9.]+)"', file.read_text("utf-8"))]
        assert len(labels.annotations) + labels.skipped == len(stated)
        measured = shapely.area([annotation.polygon for annotation in labels.annotations])
        assert labels.skipped == 0
        assert float(abs(measured - stated).max()) < 0.02 * max(stated)
        assert measured.sum() == pytest.approx(sum(stated), rel=0.01)


def test_a_ruler_in_a_layer_without_a_name_has_no_class(tmp_path: Path) -> None:
    ruler = region(SQUARE[:2], Type=4)
    labels = read(tmp_path, layer(region(SQUARE), Id=1), layer(ruler, Id=2), layer(ruler, Id=3, Name="Mitosis"))
    assert [entry.target for entry in labels.annotations] == ["layer 1"]
    assert labels.skipped == 2
    assert labels.skipped_classes == {"", "Mitosis"}
