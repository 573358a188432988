from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.split_open_1 import choose_part, group_overlaps, list_dsb, list_ebhi
from wsiparse.errors import InputError, ReferenceFileError, SlideError, TargetError
from wsiparse.ontology import Ontology, Target, load_ontology
from wsiparse.slides.open import describe, reader_of
from wsiparse.training.dataset import Picture, Supervision, load_picture, weigh_pictures
from wsiparse.training.examples import Example, group_images, read_examples
from wsiparse.training.scaling import scale_picture
from wsiparse.training.screening import find_fault

ROOT = Path(__file__).parents[2]
SPLIT = ROOT / "configs/train/open-1-split.csv"
HEAD = "image,mask,present,case,part\n"


def write_table(folder: Path, rows: str, head: str = HEAD) -> Path:
    path = folder / "examples.csv"
    path.write_text(head + rows)
    return path


def test_the_shipped_split_keeps_cases_apart() -> None:
    examples = read_examples(SPLIT, "data")
    parts = {part: {e.case for e in examples if e.part == part} for part in ("train", "test")}
    assert not parts["train"] & parts["test"]
    assert Counter(e.part for e in examples)["excluded"] == 32
    assert all(e.part == choose_part(e.case) for e in examples if e.part != "excluded")
    present = {name for e in examples for name in e.present}
    assert present <= {target.name for target in load_ontology(ROOT / "configs/ontology/open-1.toml").targets}


def test_the_tests_own_images_were_kept_apart() -> None:
    kept = {e.image.name for e in read_examples(SPLIT, "data") if e.part == "test"}
    for folder in ("ebhi", "dsb2018"):
        data = ROOT / "tests/data" / folder
        assert {e.image.name for e in read_examples(data / "examples.csv", data)} <= kept


@pytest.mark.shared_data
def test_the_shipped_split_follows_from_the_data(shared_data: Path) -> None:
    rows = list_ebhi(shared_data) + list_dsb(shared_data)
    made = [
        Example(Path(r["image"]), Path(r["mask"]), tuple(r["present"].split(";")), r["case"], r["part"]) for r in rows
    ]
    assert made == read_examples(SPLIT, ".")


def test_overlapping_images_form_one_case() -> None:
    field = np.random.default_rng(0).normal(size=(200, 260))
    other = np.random.default_rng(1).normal(size=(128, 160))
    images = [field[:128, :160], other, field[40:168, 30:190]]
    assert group_overlaps(["a", "b", "c"], images) == {"a": "a", "b": "b", "c": "a"}


@pytest.mark.parametrize(
    ("head", "rows", "words"),
    [
        ("image,mask\n", "a,b\n", "columns"),
        (HEAD, "", "columns"),
        (HEAD, "a,b,x,case,validation\n", "line 2: part 'validation'"),
        (HEAD, 'a,b,x,case,train\nc,"d,x,case,train\ne,f,x,case,train\n', "line 3: .*stray"),
        (HEAD, ",b,x,case,train\n", "line 2: no image given"),
        (HEAD, "a,,x,case,train\n", "line 2: no mask given"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, head: str, rows: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_examples(write_table(tmp_path, rows, head), tmp_path)


def test_blanks_and_capitals_of_a_spreadsheet_change_nothing(tmp_path: Path) -> None:
    head = "Image, mask ,Present,CASE,Part\n"
    table = write_table(tmp_path, "a.png , b.png,x ; y,one , Train\nc.png,d.png,x,,test\n", head)
    first, second = read_examples(table, "")
    assert first == Example(Path("a.png"), Path("b.png"), ("x", "y"), "one", "train")
    assert second.case == "c"


@pytest.mark.parametrize("rows", ["a,b,x,one,train\na,c,y,one,test\n", "a,b,x,one,train\na,c,y,two,train\n"])
def test_an_image_is_in_one_part_and_of_one_case(tmp_path: Path, rows: str) -> None:
    with pytest.raises(InputError, match=r"a: rows of (part 'test' and 'train'|case 'one' and 'two'); expected one"):
        group_images(read_examples(write_table(tmp_path, rows), tmp_path))


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_examples(tmp_path / "none.csv", tmp_path)


def test_pictures_that_do_not_fit_their_mask_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    Image.new("L", (8, 7)).save(tmp_path / "b.png")
    example = Example(tmp_path / "a.png", tmp_path / "b.png", ("x",), "one", "train")
    with pytest.raises(ReferenceFileError, match="expected equal sizes"):
        load_picture(example)
    with pytest.raises(SlideError, match=r"none\.png: the image cannot be opened"):
        load_picture(Example(tmp_path / "none.png", tmp_path / "b.png", ("x",), "one", "train"))


def test_training_sees_the_pixels_that_a_run_sees(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 4), np.uint8)
    Image.new("L", (8, 6)).save(tmp_path / "b.png")
    example = Example(tmp_path / "a.png", tmp_path / "b.png", ("x",), "one", "train")
    Image.fromarray(pixels).save(tmp_path / "a.png")
    slide = describe(tmp_path / "a.png", mpp=0.5)
    assert np.array_equal(load_picture(example).pixels, reader_of(slide).read_region(slide.grid.region, 0))
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 200).save(tmp_path / "a.png")
    with pytest.raises(SlideError, match=r"a\.png: .*8 bits"):
        load_picture(example)


def test_rare_targets_are_drawn_more_often_than_their_count() -> None:
    empty = np.zeros((2, 2, 3), np.uint8), np.zeros((1, 2, 2), np.bool_)
    pictures = [Picture(*empty, (("common",),))] * 16 + [Picture(*empty, (("rare",),))] * 4
    weights = weigh_pictures(pictures, {})
    assert weights.sum() == pytest.approx(1)
    assert weights[16:].sum() / weights[:16].sum() == pytest.approx(1 / 2)
    boosted = weigh_pictures(pictures, {"rare": 3.0})
    assert boosted[16:].sum() / boosted[:16].sum() == pytest.approx(3 / 2)
    bare = [*pictures[:16], *[Picture(empty[0], empty[1][:0], ())] * 4]
    boosted = weigh_pictures(bare, {"common": 2.0}, 5.0)
    assert boosted[16:].sum() / boosted[:16].sum() == pytest.approx(5 / 4)


def test_a_table_may_say_the_scale_of_its_images(tmp_path: Path) -> None:
    head = HEAD.replace("part", "part,mpp")
    rows = read_examples(write_table(tmp_path, "a.png,b.png,x,one,train,0.5\na.png,c.png,y,one,train,\n", head), "")
    assert [row.mpp for row in rows] == [0.5, None]
    for wrong in ("0", "-1", "nan", "inf", "0.5um", "40"):
        with pytest.raises(
            InputError, match=rf"examples\.csv, line 2: mpp '{wrong}'; expected 0.05 to 20 µm per pixel"
        ):
            read_examples(write_table(tmp_path, f"a.png,b.png,x,one,train,{wrong}\n", head), "")


def test_an_image_has_one_scale(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    Image.new("L", (8, 6), 1).save(tmp_path / "b.png")
    rows = [
        Example(tmp_path / "a.png", tmp_path / "b.png", ("x",), "one", "train", mpp=mpp) for mpp in (None, 0.5, 1.0)
    ]
    assert load_picture(*rows[:2]).mpp == 0.5
    with pytest.raises(ReferenceFileError, match=r"a\.png: mpp \[0\.5, 1\.0\]; expected one"):
        load_picture(*rows)


def label_picture(layers: tuple[tuple[str, ...], ...], known: tuple[str, ...] | None = None) -> Picture:
    return Picture(np.zeros((2, 2, 3), np.uint8), np.zeros((len(layers), 2, 2), np.bool_), layers, known)


SUPERVISION = Supervision(
    ("gland", "polyp", "cancer", "nuclei"), ("gland", "grade", "grade", "nuclei"), (1.5, 1.5, 1.5, 0.25)
)


def test_a_present_target_makes_its_group_known() -> None:
    assert SUPERVISION.mark_layers([["gland", "cancer"]]).tolist() == [[True, False, True, False]]
    assert SUPERVISION.mark_known(label_picture((("gland", "cancer"),))).tolist() == [True, True, True, False]
    assert SUPERVISION.mark_known(label_picture((("gland",),), ("polyp", "nuclei"))).tolist() == [
        False,
        True,
        False,
        True,
    ]
    assert SUPERVISION.weigh_columns().tolist() == [1, 0.5, 0.5, 1]
    with pytest.raises(TargetError, match="'bone'"):
        SUPERVISION.mark_layers([["bone"]])


def test_a_picture_is_normalised_as_what_it_shows_or_says_is_absent() -> None:
    assert SUPERVISION.find_mpp(label_picture((("gland", "cancer"),))) == 1.5
    muscle = replace(label_picture((("nuclei",),)), absent=("gland",))
    assert SUPERVISION.find_mpp(muscle) == 0.25
    assert SUPERVISION.find_mpp(muscle.select(["gland"])) == 1.5


def test_masks_of_one_image_become_its_layers(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    Image.new("LA", (8, 6), (9, 255)).save(tmp_path / "full.png")
    Image.new("RGBA", (8, 6), (0, 0, 0, 255)).save(tmp_path / "empty.png")
    rows = [Example(tmp_path / "a.png", tmp_path / f"{n}.png", (n,), "one", "train") for n in ("full", "empty")]
    picture = load_picture(*rows)
    assert picture.present == ("full", "empty")
    assert picture.masks.mean((1, 2)).tolist() == [1, 0]
    assert picture.stack().shape == (6, 6, 8)


def test_what_nobody_labelled_is_hidden(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    for name, box in (("disc", (0, 0, 4, 6)), ("unsure", (4, 0, 6, 6)), ("torn", (5, 0, 7, 6))):
        mask = Image.new("L", (8, 6))
        mask.paste(255, box)
        mask.save(tmp_path / f"{name}.png")
    classes = {"disc": "disc", "unsure": "Ignore*", "torn": "Ignore*"}
    rows = [Example(tmp_path / "a.png", tmp_path / f"{n}.png", (c,), "one", "train") for n, c in classes.items()]
    picture = load_picture(*rows)
    assert picture.present == ("disc",)
    assert picture.mask[0].tolist() == [True] * 4 + [False] * 4
    assert picture.hidden is not None
    assert picture.hidden[0].tolist() == [False] * 4 + [True] * 3 + [False]
    alone = load_picture(*rows[1:])
    assert find_fault(alone) == "no target is named"


def test_an_image_may_say_what_it_does_not_show(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "muscle.png")
    Image.new("L", (8, 6), 1).save(tmp_path / "nuclei.png")
    rows = "muscle.png,,,one,train,gland;polyp\nmuscle.png,nuclei.png,nuclei,one,train,gland\n"
    bare, outlined = read_examples(write_table(tmp_path, rows, HEAD.replace("part", "part,absent")), tmp_path)
    picture = load_picture(bare)
    assert picture.masks.shape == (0, 6, 8)
    assert picture.resize(2).stack().shape == (4, 12, 16)
    assert SUPERVISION.mark_known(picture).tolist() == [True, True, False, False]
    assert find_fault(picture) == ""
    assert SUPERVISION.mark_known(load_picture(outlined)).tolist() == [True, False, False, True]
    assert load_picture(bare, outlined).absent == ("gland", "polyp")
    with pytest.raises(TargetError, match="'bone'"):
        SUPERVISION.mark_known(replace(picture, absent=("bone",)))


def test_an_image_that_shows_nothing_has_the_size_of_what_is_absent() -> None:
    picture = replace(label_picture(()), absent=("gland",))
    gland = Target("gland", "gland in pathology", "gland", (0, 0, 0), 0.5)
    (scaled,) = scale_picture(picture, Ontology((gland,)), {"gland": 1.0})
    assert scaled.pixels.shape == (4, 4, 3)


def load_mask(folder: Path, name: str) -> Picture:
    with Image.open(folder / name) as mask:
        Image.new("RGB", mask.size).save(folder / "image.png")
    return load_picture(Example(folder / "image.png", folder / name, ("x",), "one", "train"))


def draw_mask() -> Image.Image:
    mask = Image.new("L", (80, 64))
    mask.paste(255, (20, 10, 40, 30))
    return mask


@pytest.mark.parametrize(("name", "width"), [("a.jpg", 80), ("a.webp", 80), ("a.png", 61)])
def test_a_mask_with_smoothed_edges_is_refused(tmp_path: Path, name: str, width: int) -> None:
    draw_mask().resize((width, 64), Image.Resampling.BILINEAR).save(tmp_path / name)
    with pytest.raises(ReferenceFileError, match=rf"image\.png: mask {name} has values between 0 and 255"):
        load_mask(tmp_path, name)


def test_numbers_of_many_objects_are_no_smoothed_edges(tmp_path: Path) -> None:
    numbers = np.kron(np.arange(256).reshape(16, 16), np.ones((3, 3))).astype(np.uint8)
    Image.fromarray(numbers).save(tmp_path / "a.png")
    assert load_mask(tmp_path, "a.png").borders is not None
    Image.new("L", (8, 8), 255).save(tmp_path / "white.jpg")
    assert load_mask(tmp_path, "white.jpg").mask.all()


@pytest.mark.parametrize("name", ["image.png", "mask.png"])
@pytest.mark.parametrize("most", [100, 10_000])
def test_a_broken_or_huge_picture_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
    for other in ("image.png", "mask.png"):
        Image.effect_noise((8, 8), 50).save(tmp_path / other)
    if most == 100:
        Image.new("L", (40, 40)).save(tmp_path / name)
    else:
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content.replace(b"IDAT", b"ID\xffT"))
    with pytest.raises((ReferenceFileError, SlideError), match=name.replace(".", r"\.")) as caught:
        load_picture(Example(tmp_path / "image.png", tmp_path / "mask.png", ("x",), "one", "train"))
    assert "\n" not in str(caught.value)
