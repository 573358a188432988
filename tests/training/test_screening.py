from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.teaching import TILES, save_pair, write_config
from wsiparse.cli import main
from wsiparse.errors import InputError, ReferenceFileError
from wsiparse.training.examples import read_examples
from wsiparse.training.screening import Screening, load_screened
from wsiparse.training.settings import read_settings
from wsiparse.training.sources import load_lesson


def make_table(folder: Path, count: int = 4) -> Path:
    """Images of discs with masks, the last one kept apart."""
    rows = []
    for n in range(count):
        save_pair(folder / f"{n}.png", folder / f"{n}_mask.png", 12 + 4 * n)
        rows.append(f"{n}.png,{n}_mask.png,dark disc,case {n},{'test' if n == count - 1 else 'train'}")
    (folder / "examples.csv").write_text("\n".join(["image,mask,present,case,part", *rows]))
    return write_config(folder, examples="examples.csv")


def fill_mask(folder: Path, n: int, value: int, size: tuple[int, int] = (48, 48)) -> None:
    Image.fromarray(np.full(size, value, np.uint8)).save(folder / f"{n}_mask.png")


def test_empty_and_full_masks_are_left_out_with_a_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = make_table(tmp_path, 5)
    fill_mask(tmp_path, 0, 0)
    fill_mask(tmp_path, 1, 255)
    assert main(["train", str(config)]) == 0
    printed = capsys.readouterr().out
    assert "2 samples to learn from, 1 kept apart" in printed
    assert "skipped 1: empty mask (0.png)" in printed
    assert "skipped 1: all-foreground mask (1.png)" in printed
    first = (tmp_path / "out/log.jsonl").read_text().splitlines()[0]
    assert '"skipped": {"empty mask": ["0.png"], "all-foreground mask": ["1.png"]}' in first


def test_an_empty_mask_among_several_is_left_out_alone(tmp_path: Path) -> None:
    make_table(tmp_path)
    Image.new("L", (48, 48)).save(tmp_path / "empty.png")
    with (tmp_path / "examples.csv").open("a") as table:
        table.write("\n0.png,empty.png,light disc,case 0,train")
    data = [example for example in read_examples(tmp_path / "examples.csv", tmp_path) if example.image.name == "0.png"]
    screening = Screening()
    (picture,) = load_screened([data], screening)
    assert (picture.present, len(picture.masks)) == (("dark disc",), 1)
    assert screening.skipped == {"empty mask beside others": ["0.png"]}


def empty_masks(folder: Path, count: int) -> None:
    for n in range(count):
        fill_mask(folder, n, 0)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda folder: fill_mask(folder, 0, 255, (48, 47)),
            r"0.png: image \(48, 48\), mask \(48, 47\); expected equal",
        ),
        (lambda folder: (folder / "0.png").write_bytes(b"no image"), "0.png: neither a slide nor an image"),
        (lambda folder: (folder / "1_mask.png").unlink(), "1.png: .*No such file"),
        (lambda folder: (folder / "2.png").unlink(), "2.png: No such file"),
        (lambda folder: (folder / "3.png").write_bytes((folder / "0.png").read_bytes()), "0.png .train. and 3.png"),
        (lambda folder: empty_masks(folder, 3), "no training example shows 'dark disc'"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_by_name(
    tmp_path: Path, spoil: object, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_table(tmp_path)
    assert callable(spoil)
    spoil(tmp_path)
    with pytest.raises(InputError, match=words):
        load_lesson(read_settings(config), TILES)
    assert main(["train", str(config)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_all_that_is_wrong_is_counted_at_once(tmp_path: Path) -> None:
    config = make_table(tmp_path)
    fill_mask(tmp_path, 0, 255, (9, 9))
    fill_mask(tmp_path, 1, 255, (9, 9))
    with pytest.raises(InputError, match=r"0\.png.*\(and 1 more such\)"):
        load_lesson(read_settings(config), TILES)


def test_a_case_in_both_parts_is_refused(tmp_path: Path) -> None:
    config = make_table(tmp_path)
    table = tmp_path / "examples.csv"
    table.write_text(table.read_text().replace("case 3", "case 1"))
    with pytest.raises(InputError, match="case 'case 1' is in train and test"):
        load_lesson(read_settings(config), TILES)
    table.write_text(table.read_text().replace("test", "excluded"))
    assert len(load_lesson(read_settings(config), TILES).train) == 3


def test_a_target_without_an_example_is_refused(tmp_path: Path) -> None:
    make_table(tmp_path)
    config = write_config(tmp_path, examples="examples.csv", targets=("dark disc", "light disc"))
    with pytest.raises(InputError, match="no training example shows 'light disc'"):
        load_lesson(read_settings(config), TILES)


def test_objects_that_no_example_tells_apart_cannot_be_learned_apart(tmp_path: Path) -> None:
    make_table(tmp_path)
    config = write_config(tmp_path, examples="examples.csv", apart={"black disc": "insides"})
    with pytest.raises(InputError, match="apart names 'dark disc', whose objects no training example tells apart"):
        load_lesson(read_settings(config), TILES)


def test_a_target_that_is_kept_apart_alone_is_told_so(tmp_path: Path) -> None:
    config = make_table(tmp_path)
    fill_mask(tmp_path, 0, 0)
    table = tmp_path / "examples.csv"
    rows = table.read_text().splitlines()
    table.write_text("\n".join([*rows[:2], rows[4]]))
    told = r"\(0 samples to learn from; skipped 1: empty mask \(0\.png\); 1 images and 0 slides kept apart\)"
    with pytest.raises(InputError, match=f"no training example shows 'dark disc' {told}"):
        load_lesson(read_settings(config), TILES)


def rename(folder: Path, *names: str) -> None:
    """Write other names into the table's rows, as a spreadsheet saves it."""
    head, *rows = (folder / "examples.csv").read_text().splitlines()
    rows = [row.replace("dark disc", name) for row, name in zip(rows, names, strict=True)]
    (folder / "examples.csv").write_text("\n".join([f"{head},absent", *(f"{row}," for row in rows)]), "utf-8-sig")


def test_a_table_has_the_names_that_folders_have(tmp_path: Path) -> None:
    make_table(tmp_path)
    (tmp_path / "classes.toml").write_text('[classes]\nblob = "black disc"\nvessel = ""\n')
    rename(tmp_path, "DARK disc;light disc", "Black Disc", "blob;dark disc;vessel", "dark_disc")
    config = write_config(tmp_path, examples="examples.csv", mapping="classes.toml")
    lesson = load_lesson(read_settings(config), TILES)
    assert [sample.present for sample in (*lesson.train, *lesson.test)] == [("dark disc",)] * 4


def test_rows_of_other_targets_are_left_out_with_a_count(tmp_path: Path) -> None:
    config = make_table(tmp_path)
    rename(tmp_path, "dark disc", "light disc", "Ignore*", "dark disc")
    lesson = load_lesson(read_settings(config), TILES)
    assert len(lesson.train) == 1
    assert lesson.screening.skipped == {"row of other targets": ["1.png"], "no target is named": ["2.png"]}


def test_a_name_nobody_knows_is_refused_before_the_first_step(tmp_path: Path) -> None:
    config = make_table(tmp_path)
    rename(tmp_path, "dark disc", "drak disc", "dark disc", "dark disc")
    with pytest.raises(ReferenceFileError, match=r"examples\.csv: classes 'drak disc' are no targets"):
        load_lesson(read_settings(config), TILES)
    (tmp_path / "examples.csv").write_bytes("image,mask,present,case,part\né".encode("latin-1"))
    with pytest.raises(InputError, match=r"examples\.csv: line 2 is not in UTF-8; save it as UTF-8 .*expected a CSV"):
        load_lesson(read_settings(config), TILES)
