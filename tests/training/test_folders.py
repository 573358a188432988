from __future__ import annotations

import errno
import json
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.teaching import TILES, save_pair, write_config
from wsiparse.errors import InputError, ReferenceFileError
from wsiparse.training.folders import Splitting, find_shelves, list_examples, split_mask_name
from wsiparse.training.screening import Screening
from wsiparse.training.settings import TrainingSettings, read_settings
from wsiparse.training.sources import load_lesson, read_names


def read_folder(folder: Path, **changes: Any) -> TrainingSettings:
    return read_settings(write_config(folder, examples=".", **changes))


def make_published(folder: Path) -> Path:
    for n, (part, target) in enumerate([("train", "dark+disc"), ("train", "light+disc"), ("test", "dark+disc")]):
        stem = f"slide {n}_pathology_colon"
        save_pair(folder / part / f"{stem}.png", folder / f"{part}_mask" / f"{stem}_{target}.png", 15 + 5 * n)
    return folder


def test_the_published_layout_is_read(tmp_path: Path) -> None:
    config = read_folder(make_published(tmp_path), targets=("dark disc", "light disc"))
    lesson = load_lesson(config, TILES)
    assert [sample.present for sample in lesson.train] == [("dark disc",), ("light disc",)]
    assert [sample.present for sample in lesson.test] == [("dark disc",)]
    examples = list_examples(tmp_path, read_names(config), Splitting(), Screening())
    assert [(example.case, example.part) for example in examples] == [
        ("slide 0", "train"),
        ("slide 1", "train"),
        ("slide 2", "test"),
    ]


def test_several_masks_of_an_image_are_one_sample(tmp_path: Path) -> None:
    make_published(tmp_path)
    save_pair(tmp_path / "no.png", tmp_path / "train_mask/slide 0_pathology_colon_light+disc.png", 40)
    first, _ = load_lesson(read_folder(tmp_path, targets=("dark disc", "light disc")), TILES).train
    assert first.present == ("dark disc", "light disc")
    assert first.read().masks.shape == (2, 48, 48)


def test_a_mask_of_what_is_to_be_ignored_hides_its_pixels(tmp_path: Path) -> None:
    make_published(tmp_path)
    save_pair(tmp_path / "no.png", tmp_path / "train_mask/slide 0_pathology_colon_unsure.png", 40)
    (tmp_path / "mapping.toml").write_text('unsure = "Ignore*"')
    first, _ = load_lesson(
        read_folder(tmp_path, targets=("dark disc", "light disc"), mapping="mapping.toml"), TILES
    ).train
    assert first.present == ("dark disc",)
    hidden = first.read().hidden
    assert hidden is not None
    assert 0 < hidden.mean() < 1


def test_the_sentences_of_the_published_layout_are_ways_to_ask(tmp_path: Path) -> None:
    make_published(tmp_path)
    sentences = [{"raw": "", "sent": text, "sent_id": n} for n, text in enumerate(("ink blot", "black disc"))]
    entry = {"mask_file": "slide 0_pathology_colon_dark+disc.png", "sentences": sentences}
    (tmp_path / "train.json").write_text(json.dumps({"annotations": [entry]}))
    target = load_lesson(read_folder(tmp_path), TILES).ontology.targets[0]
    assert target.synonyms == ("black disc", "ink blot")
    entry["sentences"] = [{"sent": " "}]
    (tmp_path / "train.json").write_text(json.dumps({"annotations": [entry]}))
    with pytest.raises(InputError, match=r"train\.json.*an empty sentence"):
        load_lesson(read_folder(tmp_path), TILES)
    (tmp_path / "train.json").write_text('{"annotations": [{}]}')
    with pytest.raises(InputError, match=r"train\.json.*mask_file"):
        load_lesson(read_folder(tmp_path), TILES)


def test_images_and_masks_side_by_side(tmp_path: Path) -> None:
    for n in range(12):
        save_pair(tmp_path / f"images/p{n // 2}-{n}.png", tmp_path / f"masks/p{n // 2}-{n}.png", 10 + 2 * n)
    config = read_folder(tmp_path, case_pattern=r"^(p\d+)-", test_share=0.4)
    examples = list_examples(
        tmp_path, read_names(config), Splitting(config.case_pattern, config.test_share), Screening()
    )
    parts = {example.case: example.part for example in examples}
    assert len(examples) == 12
    assert len({(example.case, example.part) for example in examples}) == len(parts) == 6
    assert set(parts.values()) == {"train", "test"}
    lesson = load_lesson(config, TILES)
    assert len(lesson.train) + len(lesson.test) == 12


def test_the_patient_is_found_in_the_name_of_an_image_whose_row_names_none(tmp_path: Path) -> None:
    for n, name in enumerate(("P1-a", "P1-b")):
        save_pair(tmp_path / f"{name}.png", tmp_path / f"{name}_mask.png", 20 + n)
    rows = ["image,mask,present,case,part", "P1-a.png,P1-a_mask.png,dark disc,,train"]
    (tmp_path / "examples.csv").write_text("\n".join([*rows, "P1-b.png,P1-b_mask.png,dark disc,,test"]))
    with pytest.raises(InputError, match="case 'P1' is in train and test"):
        load_lesson(read_settings(write_config(tmp_path, examples="examples.csv", case_pattern=r"^(P\d+)")), TILES)


def test_a_mask_may_name_its_target_and_the_laboratory_its_own(tmp_path: Path) -> None:
    (tmp_path / "classes.toml").write_text('[classes]\nblob = "dark disc"\nother = ""\n')
    save_pair(tmp_path / "train/images/a.png", tmp_path / "train/masks/a__blob.png")
    save_pair(tmp_path / "train/images/b.png", tmp_path / "train/masks/b__other.png", 25)
    save_pair(tmp_path / "train/images/c.png", tmp_path / "c.png", 30)
    lesson = load_lesson(read_folder(tmp_path, mapping="classes.toml"), TILES)
    assert [sample.present for sample in lesson.train] == [("dark disc",)]
    assert lesson.screening.skipped == {"mask of another target": ["b__other.png"], "image without a mask": ["c.png"]}
    with pytest.raises(ReferenceFileError, match="'blob'"):
        load_lesson(read_folder(tmp_path), TILES)


def test_an_image_may_have_two_underscores_and_accents_in_its_name(tmp_path: Path) -> None:
    for n, name in enumerate(("a", "a__b", "café")):
        masks = (f"{name}__dark disc", name, unicodedata.normalize("NFD", name))
        save_pair(tmp_path / f"images/{name}.png", tmp_path / f"masks/{masks[n]}.png", 15 + 5 * n)
    for kind in ("images", "masks"):
        (tmp_path / kind / "._a.png").write_bytes(b"of another system")
    config = read_folder(tmp_path, test_share=0.0)
    examples = list_examples(tmp_path, read_names(config), Splitting(test_share=0.0), Screening())
    assert [example.image.name for example in examples] == ["a__b.png", "a.png", "café.png"]
    assert len(load_lesson(config, TILES).train) == 3


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    save_pair(tmp_path / "images/a.png", tmp_path / "masks/a.png")
    save_pair(tmp_path / "images/a.webp", tmp_path / "masks/a.png")
    with pytest.raises(InputError, match=r"a\.png and a\.webp: two images of one name"):
        load_lesson(read_folder(tmp_path), TILES)


def test_a_mask_of_several_targets_says_what_is_expected(tmp_path: Path) -> None:
    save_pair(tmp_path / "images/a.png", tmp_path / "masks/a.png")
    with pytest.raises(InputError, match=r"masks/a\.png: its name says none of 2 targets; expected .* IMAGE__TARGET"):
        load_lesson(read_folder(tmp_path, targets=("dark disc", "light disc")), TILES)


def test_folders_among_the_images_are_mentioned(tmp_path: Path) -> None:
    for n in range(2):
        save_pair(tmp_path / f"train/images/{n}.png", tmp_path / f"train/masks/{n}.png", 15 + 5 * n)
    save_pair(tmp_path / "train/images/P1/a.png", tmp_path / "train/masks/P1/a.png", 30)
    lesson = load_lesson(read_folder(tmp_path), TILES)
    assert lesson.screening.skipped == {"folder within a folder": ["images/P1", "masks/P1"]}


def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_pair(tmp_path / "images/a.png", tmp_path / "masks/a.png")
    config = read_folder(tmp_path)

    def fail(folder: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    monkeypatch.setattr(Path, "iterdir", fail)
    with pytest.raises(InputError, match="images: Permission denied; expected a folder that may be read"):
        load_lesson(config, TILES)


def test_an_image_of_another_kind_is_told_the_endings(tmp_path: Path) -> None:
    save_pair(tmp_path / "images/a.png", tmp_path / "masks/a.png")
    (tmp_path / "images/a.png").rename(tmp_path / "images/a.jp2")
    with pytest.raises(InputError, match=r"no image a in .*; expected one of that name, ending in \.png, \.tif"):
        load_lesson(read_folder(tmp_path), TILES)


def test_a_case_in_both_parts_is_refused_by_name(tmp_path: Path) -> None:
    make_published(tmp_path)
    with pytest.raises(InputError, match="case 'slide' is in train and test"):
        load_lesson(read_folder(tmp_path, targets=("dark disc", "light disc"), case_pattern="^(slide)"), TILES)
    with pytest.raises(InputError, match=r"case_pattern.*finds no case"):
        load_lesson(read_folder(tmp_path, case_pattern=r"patient(\d+)"), TILES)


def test_folders_that_are_none_of_these_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train and train_mask, or images and masks"):
        find_shelves(tmp_path)
    save_pair(tmp_path / "images/a.png", tmp_path / "masks/b.png")
    with pytest.raises(InputError, match=r"masks.b\.png: no image b"):
        load_lesson(read_folder(tmp_path), TILES)


@given(st.text("abcé -", min_size=1), st.lists(st.text("xyz", min_size=1), min_size=1, max_size=3))
def test_a_published_name_gives_its_image_and_target(image: str, words: list[str]) -> None:
    assert split_mask_name(f"{image}_CT_liver_{'+'.join(words)}", True) == (f"{image}_CT_liver", " ".join(words))
    assert split_mask_name(f"{image}__{'_'.join(words)}", False) == (image, "_".join(words))
    assert split_mask_name(image, False) == (image, "")
    assert split_mask_name(f"{image}__b__x", False, {f"{image}__b", image}) == (f"{image}__b", "x")


@settings(deadline=None, max_examples=15)
@given(st.lists(st.text(min_size=1), min_size=200, max_size=200, unique=True), st.floats(0.1, 0.9))
def test_the_parts_have_about_their_share_and_stay(cases: list[str], share: float) -> None:
    splitting = Splitting(test_share=share)
    parts = [splitting.choose_part(case) for case in cases]
    assert abs(parts.count("test") / 200 - share) < 0.25
    assert parts == [Splitting(test_share=share).choose_part(case) for case in cases]
