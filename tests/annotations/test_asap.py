"""ASAP's XML both ways: what is written is read back with the same area, holes and classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import MultiPolygon, Polygon

from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.asap import join_holes, read_asap, write_asap
from wsiparse.annotations.features import repair_polygons
from wsiparse.annotations.geojson import Labels
from wsiparse.annotations.labels import read_annotations
from wsiparse.errors import OutputError, ReferenceFileError
from wsiparse.geometry import Grid
from wsiparse.ontology import Target
from wsiparse.slides.slide import Slide

SLIDE = Slide("s1", "s1.tif", (Grid(1000, 800, 0.5),), "manifest")
GLAND = Target("gland & <lumen>", "gland", "tissue", (10, 200, 255), 1.0)
SQUARE = [(0, 0), (10, 0), (10, 10), (0, 10)]
DRAWN = """<?xml version="1.0"?>
<ASAP_Annotations>
\t<Annotations>
\t\t<Annotation Name="Annotation 0" Type="Polygon" PartOfGroup="Tumor" Color="#F4FA58">
\t\t\t<Coordinates>
\t\t\t\t<Coordinate Order="2" X="110.5" Y="120" />
\t\t\t\t<Coordinate Order="0" X="100.5" Y="100" />
\t\t\t\t<Coordinate Order="1" X="110.5" Y="100" />
\t\t\t\t<Coordinate Order="3" X="100.5" Y="120" />
\t\t\t</Coordinates>
\t\t</Annotation>
\t\t<Annotation Name="Annotation 1" Type="Dot" PartOfGroup="None" Color="#F4FA58">
\t\t\t<Coordinates><Coordinate Order="0" X="3" Y="4" /></Coordinates>
\t\t</Annotation>
\t\t<Annotation Name="Annotation 2" Type="Rectangle" PartOfGroup="None" Color="#F4FA58">
\t\t\t<Coordinates>
\t\t\t\t<Coordinate Order="0" X="20" Y="20" /><Coordinate Order="1" X="40" Y="20" />
\t\t\t\t<Coordinate Order="2" X="40" Y="30" /><Coordinate Order="3" X="20" Y="30" />
\t\t\t</Coordinates>
\t\t</Annotation>
\t</Annotations>
\t<AnnotationGroups>
\t\t<Group Name="Tumor" PartOfGroup="None" Color="#ff0000"><Attributes /></Group>
\t</AnnotationGroups>
</ASAP_Annotations>
"""


def read(tmp_path: Path, text: str) -> Labels:
    path = tmp_path / "labels.xml"
    path.write_text(text, encoding="utf-8")
    return read_asap(path, SLIDE)


def annotate(polygon: Polygon | MultiPolygon, target: str = "gland") -> Annotation:
    return Annotation(target, polygon, polygon.area / 4)


def test_groups_are_classes_and_points_come_in_their_order(tmp_path: Path) -> None:
    labels = read(tmp_path, DRAWN)
    assert [annotation.target for annotation in labels.annotations] == ["Tumor", ""]
    assert [annotation.polygon.area for annotation in labels.annotations] == [200, 200]
    assert [annotation.area_um2 for annotation in labels.annotations] == [50, 50]
    assert (labels.skipped, labels.repaired) == (1, 0)
    assert read_annotations(tmp_path / "labels.xml", SLIDE) == labels


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('X="110.5" Y="120"', 'X="nan" Y="120"', "line 6: coordinates"),
        ('Order="3"', 'Order="third"', "Order 'third'"),
        ('Order="3"', "", "Order ''"),
        ("\t\t</Annotation>\n", "", "mismatched tag"),
        ("<Annotations>", '<Annotations><Coordinate Order="0" X="1" Y="1"/>', "outside of any Annotation"),
        ("ASAP_Annotations", "Annotations", "root 'Annotations'"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, old: str, new: str, reason: str) -> None:
    with pytest.raises(ReferenceFileError, match=reason):
        read(tmp_path, DRAWN.replace(old, new))


def test_a_crossing_outline_is_repaired_and_counted(tmp_path: Path) -> None:
    labels = read(tmp_path, DRAWN.replace('Order="2"', 'Order="9"'))
    assert (len(labels.annotations), labels.repaired) == (2, 1)
    assert labels.annotations[0].polygon.area == pytest.approx(100)
    assert labels.annotations[0].polygon.is_valid


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "out.xml"
    ring = Polygon(SQUARE, [[(2, 2), (4, 2), (4, 4), (2, 4)], [(5, 5), (9, 5), (9, 9), (5, 9)]])
    parts = MultiPolygon([shapely.box(20, 20, 30, 30), shapely.box(40.125, 40, 41, 41)])
    drawn = [annotate(ring, GLAND.name), annotate(parts, "other"), annotate(shapely.box(50, 50, 60, 60), "")]
    assert write_asap(drawn, path, [GLAND]) == 4
    labels = read_asap(path, SLIDE)
    assert [annotation.target for annotation in labels.annotations] == [GLAND.name, "other", "other", ""]
    assert labels.annotations[0].polygon.equals(ring)
    assert labels.annotations[0].area_um2 == pytest.approx(80 / 4)
    assert shapely.union_all([entry.polygon for entry in labels.annotations[1:3]]).equals(parts)
    assert (labels.skipped, labels.repaired) == (0, 1)
    text = path.read_text("utf-8")
    assert 'PartOfGroup="gland &amp; &lt;lumen&gt;" Color="#0ac8ff"' in text
    assert text.count("<Group ") == 2


def test_equal_annotations_are_equal_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "a.xml", tmp_path / "b.xml"]
    for path in paths:
        write_asap([annotate(Polygon(SQUARE))], path, [GLAND])
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_no_annotations_are_a_file_too(tmp_path: Path) -> None:
    assert write_asap([], tmp_path / "none.xml", [GLAND]) == 0
    assert read_asap(tmp_path / "none.xml", SLIDE) == Labels(())


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write_asap([], tmp_path, [GLAND])


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32), st.integers(0, 8))
def test_slits_lead_to_every_hole_and_change_no_area(seed: int, holes: int) -> None:
    generator = np.random.default_rng(seed)
    boxes = [shapely.box(x, y, x + w, y + h) for x, y, w, h in generator.uniform(0.5, 20, (holes, 4))]
    cut = shapely.box(0, 0, 45, 45) - shapely.union_all(boxes)
    polygon = max(shapely.get_parts(cut), key=shapely.area)
    ring = join_holes(polygon)
    rebuilt, _ = repair_polygons([Polygon(ring)])
    assert rebuilt.is_valid
    assert rebuilt.symmetric_difference(polygon).area < 1e-6
    closed = np.vstack([ring, ring[:1]])
    signed = (closed[:-1, 0] * closed[1:, 1] - closed[1:, 0] * closed[:-1, 1]).sum() / 2
    assert abs(signed) == pytest.approx(polygon.area)
