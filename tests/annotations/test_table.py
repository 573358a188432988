from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest
import shapely
from shapely import MultiPolygon

from tests.annotations.masks import annotate, draw_mask, draw_scores, make_slide
from wsiparse.annotations.annotation import Annotation, RunnerUp
from wsiparse.annotations.batches import Batch
from wsiparse.annotations.identity import Identities
from wsiparse.annotations.table import COLUMNS, write_table
from wsiparse.geometry import Grid
from wsiparse.slides.slide import Slide

SLIDE = Slide("s1", "s1.svs", (Grid(1000, 800, 0.5),), "manifest")


def test_a_table_holds_what_shapely_measures(tmp_path: Path) -> None:
    labels = draw_mask("blobs", 5)
    _, slide = make_slide(labels, 2.0)
    annotations = annotate(labels, scores=draw_scores(labels, 5))
    assert write_table(annotations, tmp_path / "a.csv", slide) == len(annotations)
    table = pd.read_csv(tmp_path / "a.csv")
    assert tuple(table.columns) == COLUMNS
    assert list(table.id) == Identities(slide.id).assign(Batch.of(annotations))
    assert list(table.target) == [annotation.target for annotation in annotations]
    centers = [annotation.polygon.centroid for annotation in annotations]
    assert list(table.centroid_x) == pytest.approx([center.x for center in centers], abs=1e-4)
    assert list(table.centroid_y) == pytest.approx([center.y for center in centers], abs=1e-4)
    assert list(table.area_um2) == pytest.approx([annotation.area_um2 for annotation in annotations], abs=1e-4)
    lengths = [annotation.polygon.length * slide.mpp for annotation in annotations]
    assert list(table.perimeter_um) == pytest.approx(lengths, abs=1e-4)
    assert list(table.probability) == pytest.approx([annotation.probability for annotation in annotations], abs=1e-4)


def test_a_square_with_a_hole_and_what_a_person_drew(tmp_path: Path) -> None:
    ring = shapely.box(0, 0, 20, 10) - shapely.box(5, 4, 15, 6)
    drawn = [Annotation("gland, cut", ring, 45.0), Annotation("", MultiPolygon([shapely.box(0, 0, 1, 1)]), 0.25, 0.5)]
    write_table(drawn, tmp_path / "a.csv", SLIDE)
    with (tmp_path / "a.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["target"], first["area_um2"], first["probability"]) == ("gland, cut", "45.0000", "")
    assert (first["convex_ratio"], first["box_ratio"], first["perimeter_um"]) == ("0.9000", "0.9000", "42.0000")
    assert (second["centroid_x"], second["probability"]) == ("0.5000", "0.5000")
    assert (first["runner_up"], first["runner_up_probability"]) == ("", "")


def test_the_runner_up_stands_beside_the_target(tmp_path: Path) -> None:
    box = shapely.box(0, 0, 4, 4)
    write_table([Annotation("gland", box, 4.0, 0.75, None, RunnerUp("crypt, cut", 0.125))], tmp_path / "a.csv", SLIDE)
    (row,) = pd.read_csv(tmp_path / "a.csv").to_dict("records")
    assert (row["runner_up"], row["runner_up_probability"]) == ("crypt, cut", 0.125)


def test_no_objects_are_a_header_alone(tmp_path: Path) -> None:
    assert write_table([], tmp_path / "a.csv", SLIDE) == 0
    assert (tmp_path / "a.csv").read_text().splitlines() == [",".join(COLUMNS)]
