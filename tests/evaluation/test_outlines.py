from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import MultiPolygon, Polygon, box

from tests.evaluation.drawing import (
    NAMES,
    ONTOLOGY,
    centres_inside,
    cut_regions,
    draw_slide,
    feature,
    write_features,
)
from wsiparse.annotations.annotation import Annotation
from wsiparse.errors import ReferenceFileError
from wsiparse.evaluation.names import TargetNames
from wsiparse.evaluation.outlines import OutlineReference, read_outlines
from wsiparse.geometry import Region

SLIDE = draw_slide()
TRIANGLE = Polygon([(20.3, 10.1), (333.7, 90.2), (61.9, 271.4)], [[(80, 60), (150, 80), (90, 120)]])
ISLANDS = MultiPolygon([box(200, 200, 250, 290), box(300, 220, 398.6, 299)])


def of(*drawn: tuple[str, Polygon | MultiPolygon]) -> OutlineReference:
    return OutlineReference(((name, Annotation(name, polygon, polygon.area)) for name, polygon in drawn), SLIDE.grid)


@pytest.mark.parametrize("mpp", [0.5, 1.0, 0.73, 0.25])
@pytest.mark.parametrize("polygon", [TRIANGLE, ISLANDS])
def test_pixels_whose_centre_lies_inside_are_drawn_at_any_scale(mpp: float, polygon: Polygon | MultiPolygon) -> None:
    grid = SLIDE.grid.at_mpp(mpp)
    found = of(("gland", polygon)).draw("gland", grid.region, grid)
    assert np.array_equal(found, centres_inside(polygon, grid, SLIDE))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(-20, 420), st.integers(-20, 320)), min_size=3, max_size=7, unique=True),
    st.sampled_from([0.5, 1.0, 0.7, 1.7]),
    st.integers(17, 120),
)
def test_a_region_drawn_alone_is_that_part_of_the_whole(points: list[tuple[int, int]], mpp: float, side: int) -> None:
    outline = Polygon(points).buffer(0)
    grid = SLIDE.grid.at_mpp(mpp)
    reference = of(("gland", outline))
    whole = reference.draw("gland", grid.region, grid)
    for region in cut_regions(grid, side):
        assert np.array_equal(reference.draw("gland", region, grid), whole[region.slices])


def test_overlapping_outlines_of_a_target_are_drawn_once() -> None:
    found = of(("gland", box(10, 10, 30, 30)), ("gland", box(20, 20, 40, 40))).draw(
        "gland", SLIDE.grid.region, SLIDE.grid
    )
    assert found.sum() == 700


def test_a_pixel_on_a_shared_border_belongs_to_one_of_the_neighbours() -> None:
    grid = SLIDE.grid.at_mpp(1.0)  # the border at 101 runs through the centres of a column of pixels
    reference = of(("gland", box(11, 11, 101, 201)), ("tumour", box(101, 11, 301, 201)))
    left, right = (reference.draw(name, grid.region, grid) for name in ("gland", "tumour"))
    assert not (left & right).any()
    assert (left | right).sum() == 95 * 145


def test_what_is_not_outlined_is_not_there() -> None:
    reference = of(("gland", TRIANGLE))
    assert reference.covers("tumour")
    assert not reference.draw("tumour", SLIDE.grid.region, SLIDE.grid).any()


def test_classes_are_read_as_names_prompts_and_synonyms_in_any_case(tmp_path: Path) -> None:
    names = ["Gland", "CRYPT", "glandular structure"]
    path = write_features(
        tmp_path / "s1.geojson", ((box(50 * n, 0, 50 * n + 10, 10), name) for n, name in enumerate(names))
    )
    found = read_outlines(path, SLIDE, NAMES).draw("gland", SLIDE.grid.region, SLIDE.grid)
    assert found.sum() == 300


@pytest.mark.parametrize("form", ["collection", "array", "feature", "gzip"])
def test_every_form_of_document_is_read(tmp_path: Path, form: str) -> None:
    one = feature(box(10, 20, 30, 40), "gland")
    document = {"collection": {"type": "FeatureCollection", "features": [one]}, "array": [one]}.get(form, one)
    data = json.dumps(document).encode()
    path = tmp_path / "s1.geojson"
    path.write_bytes(gzip.compress(data) if form == "gzip" else data)
    found = read_outlines(path, SLIDE, NAMES).draw("gland", SLIDE.grid.region, SLIDE.grid)
    assert found[20:40, 10:30].all()
    assert found.sum() == 400


def test_ignored_and_unclassified_outlines_are_left_out_of_the_comparison(tmp_path: Path) -> None:
    drawn = [
        (box(0, 0, 10, 10), "Ignore*"),
        (box(20, 0, 30, 10), None),
        (box(40, 0, 50, 10), "Fold*"),
        (TRIANGLE, "gland"),
    ]
    reference = read_outlines(write_features(tmp_path / "s1.geojson", drawn), SLIDE, NAMES)
    ignored = reference.draw_ignored(SLIDE.grid.region, SLIDE.grid)
    assert ignored.sum() == 300
    assert ignored[:10, [5, 25, 45]].all()


def test_a_frame_bounds_the_comparison(tmp_path: Path) -> None:
    drawn = [(box(100, 100, 200, 150), "Region*"), (box(110, 110, 120, 120), "Ignore*"), (TRIANGLE, "gland")]
    reference = read_outlines(write_features(tmp_path / "s1.geojson", drawn), SLIDE, NAMES)
    compared = ~reference.draw_ignored(SLIDE.grid.region, SLIDE.grid)
    assert compared.sum() == 100 * 50 - 100
    assert compared[100:110, 100:200].all()
    assert not compared[110:120, 110:120].any()


def test_unknown_classes_are_refused_and_all_of_them_named(tmp_path: Path) -> None:
    path = write_features(tmp_path / "s1.geojson", [(TRIANGLE, "gland"), (TRIANGLE, "Stroma"), (TRIANGLE, "Vessel")])
    with pytest.raises(ReferenceFileError, match=r"classes 'Stroma', 'Vessel' are no targets; .* map each") as caught:
        read_outlines(path, SLIDE, NAMES)
    assert "gland, tumour, lymphoid aggregate" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_classes_can_be_mapped_to_a_target_to_nothing_or_out(tmp_path: Path) -> None:
    drawn = [(box(0, 0, 10, 10), "Drüse"), (box(20, 0, 30, 10), "Stroma"), (box(40, 0, 50, 10), "Pen")]
    names = TargetNames(ONTOLOGY, ("gland",), {"Drüse": "crypt", "Stroma": "", "Pen": "Ignore*"})
    reference = read_outlines(write_features(tmp_path / "s1.geojson", drawn), SLIDE, names)
    assert reference.draw("gland", SLIDE.grid.region, SLIDE.grid).sum() == 100
    assert reference.draw_ignored(SLIDE.grid.region, SLIDE.grid).sum() == 100


def test_a_mapping_to_what_nobody_knows_is_refused(tmp_path: Path) -> None:
    path = write_features(tmp_path / "s1.geojson", [(TRIANGLE, "Stroma")])
    with pytest.raises(ReferenceFileError, match="'Stroma'"):
        read_outlines(path, SLIDE, TargetNames(ONTOLOGY, ("gland",), {"Stroma": "connective"}))


def test_outlines_of_a_cropping_viewer_are_moved_to_the_full_slide(tmp_path: Path) -> None:
    slide = draw_slide(bounds=Region(100, 50, 300, 250))
    path = write_features(tmp_path / "s1.geojson", [(box(0, 0, 10, 10), "gland")])
    found = read_outlines(path, slide, NAMES).draw("gland", slide.grid.region, slide.grid)
    assert found[50:60, 100:110].all()
    assert found.sum() == 100


def test_outlines_outside_of_the_scanned_area_are_refused(tmp_path: Path) -> None:
    slide = draw_slide(bounds=Region(200, 150, 100, 80))
    path = write_features(tmp_path / "s1.geojson", [(box(x, x, x + 10, x + 10), "gland") for x in (10, 110, 130)])
    with pytest.raises(
        ReferenceFileError,
        match=r"2 of 3 outlines lie beyond what was scanned, 100 × 80 pixels of the slide of 400 × 300 .* cropped",
    ):
        read_outlines(path, slide, NAMES)


def test_far_corners_of_a_gigapixel_slide_are_drawn_alone() -> None:
    slide = draw_slide(120_000, 100_000, 0.25)
    grid = slide.grid.at_mpp(0.5)
    drawn = [
        ("gland", Annotation("gland", box(x, x * 0.8, x + 40, x * 0.8 + 40), 1600)) for x in range(0, 119_000, 500)
    ]
    reference = OutlineReference(drawn, slide.grid)
    found = reference.draw("gland", Region(59_000, 47_200, 512, 512), grid)
    assert found.sum() == 2 * 400


def write_imagescope(path: Path, *names: str) -> Path:
    corners = [(10, 20), (30, 20), (30, 40), (10, 40)]
    vertices = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in corners)
    layers = "".join(
        f'<Annotation Id="{n}" Name="{name}"><Regions><Region Type="0"><Vertices>{vertices}</Vertices></Region>'
        "</Regions></Annotation>"
        for n, name in enumerate(names, start=1)
    )
    path.write_text(f"<Annotations>{layers}</Annotations>")
    return path


def write_asap(path: Path, group: str) -> Path:
    corners = [(10, 20), (30, 20), (30, 40), (10, 40)]
    points = "".join(f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(corners))
    path.write_text(
        '<?xml version="1.0"?><ASAP_Annotations><Annotations>'
        f'<Annotation Name="A" Type="Polygon" PartOfGroup="{group}">'
        f"<Coordinates>{points}</Coordinates></Annotation></Annotations></ASAP_Annotations>"
    )
    return path


def test_xml_of_imagescope_and_asap_is_read_by_what_it_holds(tmp_path: Path) -> None:
    for path in (write_imagescope(tmp_path / "a.xml", "Gland"), write_asap(tmp_path / "b.XML", "crypt")):
        reference = read_outlines(path, SLIDE, NAMES)
        assert reference.draw("gland", SLIDE.grid.region, SLIDE.grid)[20:40, 10:30].all()
        assert reference.covers("tumour")


def test_outlines_without_class_are_the_target_the_file_is_named_after(tmp_path: Path) -> None:
    for path in (
        write_imagescope(tmp_path / "a.xml", ""),
        write_features(tmp_path / "b.json", [(box(10, 20, 30, 40), None)]),
    ):
        reference = read_outlines(path, SLIDE, NAMES, "tumor")
        assert reference.draw("tumour", SLIDE.grid.region, SLIDE.grid).sum() == 400
        assert reference.covers("tumour")
        assert not reference.covers("gland")


def test_xml_without_class_is_the_only_evaluated_target_and_refused_for_several(tmp_path: Path) -> None:
    path = write_imagescope(tmp_path / "a.xml", "")
    reference = read_outlines(path, SLIDE, TargetNames(ONTOLOGY, ("gland",)))
    assert reference.draw("gland", SLIDE.grid.region, SLIDE.grid).sum() == 400
    with pytest.raises(ReferenceFileError, match="a file without classes for 3 targets"):
        read_outlines(path, SLIDE, NAMES)
    mapped = TargetNames(ONTOLOGY, ("gland", "tumour"), {"": "gland"})
    assert read_outlines(path, SLIDE, mapped).draw("gland", SLIDE.grid.region, SLIDE.grid).sum() == 400


def test_a_missing_xml_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ReferenceFileError, match="No such file"):
        read_outlines(tmp_path / "a.xml", SLIDE, NAMES)


def test_each_outline_has_a_number_of_its_own_in_any_region() -> None:
    reference = of(("gland", box(10, 10, 30, 30)), ("gland", box(30, 10, 50, 30)), ("nuclei", box(0, 0, 99, 99)))
    grid = SLIDE.grid
    whole = reference.number_objects("gland", grid.region, grid)
    assert np.array_equal(whole > 0, reference.draw("gland", grid.region, grid))
    left, right = (np.unique(whole[10:30, columns]) for columns in (slice(10, 30), slice(30, 50)))
    assert len(left) == len(right) == 1
    assert left != right
    part = reference.number_objects("gland", Region(20, 5, 20, 20), grid)
    assert len(np.unique(part[part > 0])) == 2
    assert not reference.number_objects("tumour", grid.region, grid).any()
