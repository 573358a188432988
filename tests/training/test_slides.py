from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from shapely import Point, Polygon, box

from tests.conftest import MakeSlide
from tests.drawing import draw_tissue
from tests.evaluation.drawing import write_features
from tests.runs.test_unreadable import blank_tiles
from tests.training.teaching import write_config
from wsiparse.cli import main
from wsiparse.errors import InputError
from wsiparse.geometry import Region
from wsiparse.models.load import ModelSpec, load_model
from wsiparse.models.tile_sizes import TileSizes
from wsiparse.runs.config import RunConfig
from wsiparse.runs.manifest import read_manifest
from wsiparse.runs.parse import take_order
from wsiparse.runs.pipeline import SerialEngine
from wsiparse.runs.planning import plan_slide
from wsiparse.slides.open import reader_of
from wsiparse.slides.slide import Pixels, Reader
from wsiparse.tiles.plan import Block, Tiling
from wsiparse.tiles.reading import TileBatch, read_block
from wsiparse.training.batches import BatchSource, load_check
from wsiparse.training.dataset import Sample
from wsiparse.training.loop import predict_logits, start_session
from wsiparse.training.losses import score_batch
from wsiparse.training.settings import read_settings
from wsiparse.training.slides import SlideTile, _label_core
from wsiparse.training.sources import Lesson, load_lesson
from wsiparse.training.students import start_student

DISC = Polygon([(120, 90), (260, 110), (230, 240), (130, 220)])
SECOND = box(300, 60, 340, 100)


def tiles_of(lesson: Lesson) -> list[SlideTile]:
    return [sample for sample in lesson.train if isinstance(sample, SlideTile)]


@pytest.fixture
def cohort(tmp_path: Path, make_slide: MakeSlide) -> Path:
    """Two slides of two cases, with a laboratory's own class names."""
    for seed, name in enumerate(("one", "two")):
        make_slide(400, 300, pixels=draw_tissue(400, 300, seed), name=f"{name}.svs")
        write_features(tmp_path / f"{name}.geojson", [(DISC, "Dunkel"), (SECOND, "Hell")])
    rows = ["id,slide,reference,case,part", "one,one.svs,one.geojson,A,train", "two,two.svs,two.geojson,B,test"]
    (tmp_path / "slides.csv").write_text("\n".join(rows))
    (tmp_path / "classes.toml").write_text('[classes]\nDunkel = "dark disc"\nHell = "light disc"\n')
    return tmp_path


def learn_from(folder: Path, **changes: Any) -> Lesson:
    changes = {"targets": ("dark disc", "light disc"), **changes}
    config = write_config(folder, slides="slides.csv", mapping="classes.toml", **changes)
    settings = read_settings(config)
    return load_lesson(settings, TileSizes(settings.tile, 0, start_student(settings).stride))


def test_training_sees_the_tiles_of_a_run(cohort: Path) -> None:
    config = RunConfig(model="tests.tiny:build_tone", targets=("dark",), tissue=False)
    order, _ = take_order(SerialEngine(), config, cohort / "run")
    plan = plan_slide(order, read_manifest(cohort / "slides.csv")[0]).passes[0][1]
    run: dict[Region, Pixels] = {}
    for block in plan.blocks:
        pixels = read_block(reader_of(plan.slide), plan.tiling, block).pixels
        run |= dict(zip(block.cores, pixels, strict=True))
    tiles = tiles_of(learn_from(cohort, tile=plan.tiling.tile))
    assert len(tiles) > 4
    for tile in tiles:
        assert np.array_equal(tile.read().pixels, run[tile.core])


def test_a_corrected_outline_makes_another_tile(cohort: Path) -> None:
    before, again = (tiles_of(learn_from(cohort)) for _ in range(2))
    write_features(cohort / "one.geojson", [(DISC, "Dunkel"), (box(300, 60, 338, 100), "Hell")])
    after = tiles_of(learn_from(cohort))
    assert [tile.core for tile in before] == [tile.core for tile in after]
    prints, same, other = ([tile.fingerprint for tile in tiles] for tiles in (before, again, after))
    assert prints == same
    assert len(set(prints)) == len(prints)
    assert prints != other


def test_masks_and_hidden_pixels_are_the_reference(cohort: Path) -> None:
    frame = box(100, 80, 360, 230)
    write_features(cohort / "one.geojson", [(DISC, "Dunkel"), (SECOND, "Hell"), (frame, "Region*")])
    lesson = learn_from(cohort)
    tile = next(t for t in tiles_of(lesson) if t.present == ("dark disc",))
    picture, place = tile.read(), tile.core.grow(tile.tiling.margin)
    rows, columns = np.mgrid[place.y : place.bottom, place.x : place.right]
    reference = tile.source.reference
    assert np.array_equal(picture.masks[0], reference.draw("dark disc", place, tile.tiling.grid))
    assert picture.hidden is not None
    framed = (columns + 0.5 > 100) & (columns + 0.5 < 360) & (rows + 0.5 > 80) & (rows + 0.5 < 230)
    assert np.array_equal(picture.hidden, ~framed)
    assert picture.known == ("dark disc", "light disc")


def test_a_slide_that_cannot_be_decoded_is_left_out(cohort: Path) -> None:
    write_features(cohort / "two.geojson", [(DISC, "Dunkel"), (SECOND, "Hell")])
    (cohort / "slides.csv").write_text("slide,reference,part\none.svs,one.geojson,train\ntwo.svs,two.geojson,train\n")
    blank_tiles(cohort / "two.svs", 0, slice(None))
    lesson = learn_from(cohort)
    assert {tile.source.slide.id for tile in tiles_of(lesson)} == {"one"}
    assert lesson.screening.skipped == {"slide whose pixels cannot be decoded": ["two"]}
    blank_tiles(cohort / "one.svs", 0, slice(None))
    with pytest.raises(InputError, match=r"no training example .*skipped 2: slide whose pixels cannot be decoded"):
        learn_from(cohort)


def test_tiles_are_taken_where_labels_are(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Block] = []

    def count(reader: Reader, tiling: Tiling, block: Block) -> TileBatch:
        read.append(block)
        return read_block(reader, tiling, block)

    monkeypatch.setattr("wsiparse.training.slides.read_block", count)
    tiles = tiles_of(learn_from(cohort))
    assert len(read) == 2  # one tile a slide, to see whether it can be decoded
    shown = {tile.core for tile in tiles}
    for tile in tiles:
        place = tile.core.grow(tile.tiling.margin)
        near = box(place.x, place.y, place.right, place.bottom)
        assert near.intersects(DISC) or near.intersects(SECOND)
    assert any(tile.present == ("dark disc", "light disc") for tile in tiles) or len({t.present for t in tiles}) == 2
    write_features(cohort / "one.geojson", [(DISC, "Dunkel"), (SECOND, "Hell"), (box(0, 0, 400, 300), "Region*")])
    everywhere = tiles_of(learn_from(cohort))
    assert shown < {tile.core for tile in everywhere}
    assert () in {tile.present for tile in everywhere}


def test_tiles_that_no_outline_meets_are_passed_over_undrawn(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[SlideTile] = []

    def label(tile: SlideTile) -> SlideTile | None:
        asked.append(tile)
        return _label_core(tile)

    monkeypatch.setattr("wsiparse.training.slides._label_core", label)
    few, count = learn_from(cohort), len(asked)
    monkeypatch.setattr("wsiparse.training.slides._find_drawn", lambda source, names: None)
    every = learn_from(cohort)
    assert count < (len(asked) - count) / 2
    assert [tile.fingerprint for tile in few.train] == [tile.fingerprint for tile in every.train]


def test_what_lies_outside_the_slide_is_hidden(cohort: Path) -> None:
    write_features(cohort / "one.geojson", [(box(0, 0, 30, 30), "Dunkel"), (SECOND, "Hell")])
    corner = next(tile for tile in tiles_of(learn_from(cohort)) if (tile.core.x, tile.core.y) == (0, 0))
    picture, margin = corner.read(), corner.tiling.margin
    assert picture.hidden is not None
    assert picture.hidden[:margin].all()
    assert picture.hidden[:, :margin].all()
    assert not picture.hidden[margin:, margin:].any()
    assert not picture.masks[:, :margin].any()


def test_hidden_pixels_teach_nothing(cohort: Path) -> None:
    frame = box(100, 80, 180, 300)
    write_features(cohort / "one.geojson", [(DISC, "Dunkel"), (SECOND, "Hell"), (frame, "Region*")])
    lesson = learn_from(cohort, targets=("dark disc",), batch=8)
    settings = read_settings(cohort / "train.toml")
    student = start_student(settings)
    batch = BatchSource(lesson.train, lesson.ontology, settings, student.tokenize).draw(0)
    assert 0 < batch.hidden.float().mean() < 1
    images = batch.images.clone().requires_grad_()
    session = start_session(student, lesson.ontology, settings)
    logits = predict_logits(session.network.eval(), replace(batch, images=images))
    logits.retain_grad()
    score_batch(logits, batch.truth, batch.known, session.columns).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.masked_select(batch.hidden.expand_as(logits)).abs().max() < 1e-6
    assert logits.grad.masked_select(~batch.hidden.expand_as(logits)).abs().max() > 1e-6


def test_only_the_targets_that_a_slide_was_labelled_for_are_known(cohort: Path) -> None:
    rows = ["id,slide,reference,targets,part", "one,one.svs,one.geojson,dark disc,train"]
    (cohort / "slides.csv").write_text("\n".join(rows))
    lesson = learn_from(cohort, targets=("dark disc",))
    assert {tile.known for tile in tiles_of(lesson)} == {("dark disc",)}
    samples: list[Sample] = list(lesson.train)
    settings = read_settings(cohort / "train.toml")
    check = load_check(samples[:2], lesson.ontology, settings, start_student(settings).tokenize)
    assert check.known[:, 0].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("one,one.svs,one.geojson,A,train\ntwo,two.svs,two.geojson,A,test", "case 'A' is in train and test"),
        ("one,one.svs,one.geojson,A,train\ntwo,one.svs,one.geojson,B,test", "one .train. and two .test. are the same"),
        ("one,one.svs,one.geojson,A,validation", "one: part 'validation'"),
        ("one,classes.toml,one.geojson,A,train", "classes.toml"),
        ("one,one.svs,classes.toml,A,train", "not a kind of reference"),
        ("one,one.svs,,A,train", "no training example shows"),
        ("one,one.svs,one.geojson,A,train,drak disc", "slide one, column targets: unknown target 'drak disc'"),
    ],
)
def test_bad_cohorts_are_refused_by_name(cohort: Path, rows: str, words: str) -> None:
    (cohort / "slides.csv").write_text("id,slide,reference,case,part,targets\n" + rows)
    with pytest.raises(InputError, match=words):
        learn_from(cohort)


def test_the_patient_and_the_part_are_read_whatever_blanks_and_capitals_they_are_written_with(cohort: Path) -> None:
    slides = cohort / "slides.csv"
    slides.write_text(
        "ID,Slide,Reference, Case,Part\none,one.svs,one.geojson,A,Train\ntwo,two.svs,two.geojson,B, test\n"
    )
    assert {tile.source.slide.id for tile in tiles_of(learn_from(cohort))} == {"one"}
    slides.write_text(slides.read_text().replace("geojson,B", "geojson,A "))
    with pytest.raises(InputError, match="case 'A' is in train and test"):
        learn_from(cohort)


@pytest.mark.parametrize("column", ["", "B"])
def test_the_patient_is_found_in_the_name_of_a_slide_whose_row_names_none(cohort: Path, column: str) -> None:
    rows = ["id,slide,reference,case,part", "P1-a,one.svs,one.geojson,,train"]
    (cohort / "slides.csv").write_text("\n".join([*rows, f"P1-b,two.svs,two.geojson,{column},test"]))
    if column:
        assert {tile.source.slide.id for tile in tiles_of(learn_from(cohort, case_pattern="^(P[0-9]+)"))} == {"P1-a"}
        return
    with pytest.raises(InputError, match="case 'P1' is in train and test"):
        learn_from(cohort, case_pattern="^(P[0-9]+)")


def test_slides_without_labels_are_left_out_with_a_count(cohort: Path) -> None:
    write_features(cohort / "two.geojson", [])
    (cohort / "slides.csv").write_text(
        "id,slide,reference,case,part\none,one.svs,one.geojson,A,train\n"
        "two,two.svs,two.geojson,B,train\nthree,two.svs,,C,train"
    )
    skipped = learn_from(cohort).screening.skipped
    assert skipped == {"slide without a reference": ["three"], "slide without an outline of a target": ["two"]}


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_slide_without_a_part_goes_where_its_case_is(cohort: Path, part: str) -> None:
    rows = ["id,slide,reference,case,part", "one,one.svs,one.geojson,A,", f"two,two.svs,two.geojson,A,{part}"]
    (cohort / "slides.csv").write_text("\n".join([*rows, "three,one.svs,one.geojson,B,excluded"]))
    if part == "test":
        with pytest.raises(InputError, match="0 images and 2 slides kept apart"):
            learn_from(cohort)
    else:
        assert {tile.source.slide.id for tile in tiles_of(learn_from(cohort))} == {"one", "two"}


def test_a_slide_that_cannot_be_read_may_be_excluded(cohort: Path) -> None:
    rows = ["id,slide,reference,case,part", "one,one.svs,one.geojson,A,train", "two,gone.svs,gone.geojson,B,excluded"]
    (cohort / "slides.csv").write_text("\n".join(rows))
    assert {tile.source.slide.id for tile in tiles_of(learn_from(cohort))} == {"one"}


def test_what_of_a_reference_was_read_otherwise_is_told(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_features(cohort / "one.geojson", [(DISC, "Dunkel"), (Point(9, 9), "Hell"), (SECOND, "Hell")])
    config = write_config(cohort, slides="slides.csv", mapping="classes.toml", check_pictures=2, steps=1)
    assert main(["train", str(config)]) == 0
    told = "one: objects left out as points, lines, tiles or without an area: 1"
    assert told in capsys.readouterr().out.splitlines()
    assert f'"remarks": ["{told}"]' in (cohort / "out/log.jsonl").read_text().splitlines()[0]


def test_a_network_learns_from_slides(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(
        cohort, slides="slides.csv", mapping="classes.toml", targets=("dark disc", "light disc"), check_pictures=2
    )
    assert main(["train", str(config)]) == 0
    assert "samples to learn from" in capsys.readouterr().out
    assert (cohort / "out/samples/step-000002.png").exists()
    model = load_model(ModelSpec(str(cohort / "out/tiny.safetensors"), "cpu"))
    assert [target.name for target in model.targets] == ["dark disc", "light disc"]


@pytest.mark.parametrize("numbered", ["outlines", "a mask's values", "nothing"])
def test_objects_that_a_reference_tells_apart_are_learned_apart(cohort: Path, numbered: str) -> None:
    """Two boxes that share a side."""
    if numbered == "outlines":
        write_features(cohort / "one.geojson", [(box(100, 60, 140, 100), "Dunkel"), (box(140, 60, 180, 100), "Dunkel")])
    else:
        values = np.zeros((300, 400), np.uint8)
        values[60:100, 100:140], values[60:100, 140:180] = 1, 2 if numbered == "a mask's values" else 1
        Image.fromarray(values).save(cohort / "one.png")
        rows = ["id,slide,reference,reference_target,reference_instances,case,part"]
        kind = "yes" if numbered == "a mask's values" else ""
        rows += [f"one,one.svs,one.png,dark disc,{kind},A,train", "two,two.svs,two.geojson,,,B,test"]
        (cohort / "slides.csv").write_text("\n".join(rows))
    if numbered == "nothing":
        with pytest.raises(InputError, match="apart names 'dark disc', whose objects no training example"):
            learn_from(cohort, targets=("dark disc",), apart={"black disc": "discs set apart"})
        return
    lesson = learn_from(cohort, targets=("dark disc",), apart={"dark disc": "discs set apart"})
    assert [target.prompt for target in lesson.ontology.targets] == ["dark disc in test tissue", "discs set apart"]
    tile = next(t for t in tiles_of(lesson) if t.inside.intersect(Region(130, 70, 20, 20)).area == 400)
    picture = tile.read()
    assert picture.known == ("dark disc", "dark disc, set apart")
    assert picture.present == tile.present
    whole, parted = picture.masks
    columns = np.flatnonzero((whole & ~parted).any(0)) + tile.core.grow(tile.tiling.margin).x
    assert columns.tolist() == [138, 139, 140, 141]
    assert not (parted & ~whole).any()
