"""References as laboratories send them: broken ones are named and the cohort goes on; several readers are compared."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import wsiparse
from tests.conftest import MakeSlide
from wsiparse.cli import main
from wsiparse.errors import InputError
from wsiparse.runs.agreement import compare_readers
from wsiparse.runs.results import Results
from wsiparse.runs.run import Run

Rings = list[list[list[float]]]
SQUARE: Rings = [[[10, 10], [200, 10], [200, 200], [10, 200], [10, 10]]]
BOW: Rings = [[[10, 10], [200, 200], [200, 10], [10, 200], [10, 10]]]
BOMB = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))


def outline(rings: Rings, name: str = "dark") -> bytes:
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": rings},
        "properties": {"objectType": "annotation", "classification": {"name": name}},
    }
    return json.dumps({"type": "FeatureCollection", "features": [feature]}).encode()


def move(rings: Rings, shift: float) -> Rings:
    return [[[x + shift, y + shift] for x, y in ring] for ring in rings]


def png(width: int, height: int) -> bytes:
    file = BytesIO()
    Image.fromarray(np.ones((height, width), np.uint8)).save(file, "png")
    return file.getvalue()


def black(width: int, height: int) -> bytes:
    file = BytesIO()
    Image.fromarray(np.zeros((height, width), np.uint8)).save(file, "png")
    return file.getvalue()


def noise(width: int, height: int) -> bytes:
    file = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 2, (height, width), np.uint8)).save(file, "png")
    return file.getvalue()


BROKEN: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "truncated": ("geojson", lambda: outline(SQUARE)[:-40], "not JSON"),
    "empty": ("geojson", lambda: b"", "empty"),
    "blanks": ("geojson.gz", lambda: gzip.compress(b" " * (64 << 20), 1), "empty"),
    "cut-gzip": ("geojson.gz", lambda: gzip.compress(outline(SQUARE))[:-20], "unpacked"),
    "no-zip": ("geojson.zip", lambda: b"PK" + bytes(50), "unpacked"),
    "another-class": ("geojson", lambda: outline(SQUARE, "Mitosis"), "Mitosis"),
    "outside": ("geojson", lambda: outline(move(SQUARE, 90_000)), "slide"),
    "wrong-size": ("png", lambda: png(90, 400), "90"),
    "no-image": ("png", lambda: b"\x89PNG\r\n\x1a\n" + bytes(30), "expected a PNG"),
    "bomb": (
        "xml",
        lambda: f'<!DOCTYPE b [<!ENTITY e0 "boom">{BOMB}]><Annotations>&e11;</Annotations>'.encode(),
        "entit",
    ),
    "no-xml": ("xml", lambda: b"<Annotations><Annotation>", "XML"),
    "binary": ("json", lambda: bytes(range(256)), "not JSON"),
    "deep": ("geojson", lambda: b"[" * 100_000, "not JSON"),
    "infinite": ("geojson", lambda: outline([[[10, 10], [1e999, 10], [10, 200], [10, 10]]]), "infinity"),
    "no-tiff": ("tif", lambda: b"II*\0" + bytes(40), "tif"),
    "cut-png": ("png", lambda: noise(301, 203)[:9000], "expected a PNG"),
    "blank-xml": ("xml", lambda: b" " * (64 << 20), "XML"),
}


@pytest.fixture
def cohort(make_slide: MakeSlide, tmp_path: Path) -> Results:
    """One slide for each broken reference and one for a self-crossing outline, which is mended, not refused."""
    slide = make_slide(301, 203)
    rows = [f"{name},{slide}\n" for name in ("good", "bow", *BROKEN)]
    (tmp_path / "m.csv").write_text("".join(["id,slide\n", *rows]))
    settings: dict[str, Any] = {"model": "tests.tiny:build_tone", "tissue": False, "cluster": "serial"}
    return wsiparse.run(tmp_path / "m.csv", tmp_path / "out", targets=("dark",), **settings)


def test_broken_references_are_named_and_the_cohort_goes_on(
    cohort: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "ref"
    folder.mkdir()
    for name, (suffix, make, _) in BROKEN.items():
        (folder / f"{name}{'__dark' if suffix in ('png', 'tif') else ''}.{suffix}").write_bytes(make())
    (folder / "good.geojson").write_bytes(outline(SQUARE))
    (folder / "bow.geojson").write_bytes(outline(BOW))
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "out"), "--reference", str(folder)]) == 3
    printed = capsys.readouterr().out
    document = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert {entry["slide"] for entry in document["slides"]} == {"good", "bow"}
    assert set(document["refused"]) == set(BROKEN)
    for name, (_, _, expected) in BROKEN.items():
        message = document["refused"][name]
        assert expected.lower() in message.lower(), f"{name}: {message}"
        assert "\n" not in message
        assert len(message) < 500
        assert f"not compared: {name}: " in printed


def test_a_cohort_without_any_usable_reference_is_refused(
    cohort: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ref").mkdir()
    for name in ("good", "bow"):
        (tmp_path / "ref" / f"{name}.geojson").write_bytes(b"")
    assert main(["evaluate", str(tmp_path / "out"), "--reference", str(tmp_path / "ref")]) == 2
    assert "1 more slides" in capsys.readouterr().err


READ = """
import resource, sys
from wsiparse.annotations.labels import read_annotations
from wsiparse.errors import ReferenceFileError
from wsiparse.geometry import Grid
from wsiparse.slides.slide import Slide
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_annotations(sys.argv[1], Slide("s", "s.svs", (Grid(100, 100, 0.5),), "manifest"))
except ReferenceFileError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""


@pytest.mark.parametrize(
    ("name", "start", "found"), [("b.geojson.gz", b"", "empty"), ("b.xml", b"<Annotations>", "XML")]
)
def test_a_gigabyte_of_blanks_takes_no_memory(tmp_path: Path, name: str, start: bytes, found: str) -> None:
    path = tmp_path / name
    with gzip.open(path, "wb", 1) if name.endswith("gz") else path.open("wb") as file:
        file.write(start)
        for _ in range(64):
            file.write(b" " * (16 << 20))
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)
    path.unlink()
    grown, message = done.stdout.split(" ", 1)
    assert int(grown) * (resource.getpagesize() // 4096) < 200_000  # kilobytes
    assert found in message


def test_readers_are_held_against_each_other_and_the_model(
    make_slide: MakeSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_slide(301, 203)
    settings: dict[str, Any] = {"model": "tests.tiny:build_tone", "tissue": False, "cluster": "serial"}
    results = wsiparse.run(tmp_path / "drawn.svs", tmp_path / "out", targets=("dark",), **settings)
    model = np.asarray(results.probability("dark")) >= 153
    left = np.arange(model.shape[1]) < 150
    masks = {"anna": model, "ben": model & left, "carl": ~model}
    for reader, mask in masks.items():
        (tmp_path / reader).mkdir()
        Image.fromarray(mask).convert("L").save(tmp_path / reader / "drawn__dark.png")
    folders = [tmp_path / reader for reader in masks]
    (dark,) = compare_readers(results.run, folders).targets
    half = 2 * (model & left).sum() / (model.sum() + (model & left).sum())
    assert dark.readers == ("model", "anna", "ben", "carl")
    assert dark.agreement.dice[0, 1] == 1
    assert dark.agreement.dice[1, 2] == pytest.approx(half)
    assert dark.among_readers == pytest.approx(half / 3)
    assert dark.of_model == pytest.approx((1 + half) / 3)
    given = [part for folder in folders for part in ("--reference", str(folder))]
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "out"), *given]) == 0
    assert "carl" in capsys.readouterr().out
    written = json.loads((tmp_path / "out/agreement.json").read_text())
    assert written["slides"] == 1
    assert written["targets"][0]["dice"][0][1] == 1.0


def test_readers_without_a_slide_in_common_are_refused(make_slide: MakeSlide, tmp_path: Path) -> None:
    slide = make_slide(301, 203)
    (tmp_path / "m.csv").write_text(f"id,slide\none,{slide}\ntwo,{slide}\n")
    settings: dict[str, Any] = {"model": "tests.tiny:build_tone", "tissue": False, "cluster": "serial"}
    results = wsiparse.run(tmp_path / "m.csv", tmp_path / "out", targets=("dark",), **settings)
    for reader, name in (("anna", "one"), ("ben", "two")):
        (tmp_path / reader).mkdir()
        (tmp_path / reader / f"{name}__dark.png").write_bytes(png(301, 203))
    with pytest.raises(InputError, match="2 readers"):
        compare_readers(results.run, [tmp_path / "anna", tmp_path / "ben"])


def test_one_reader_alone_leaves_nothing_of_an_earlier_agreement(make_slide: MakeSlide, tmp_path: Path) -> None:
    make_slide(301, 203)
    settings: dict[str, Any] = {"model": "tests.tiny:build_tone", "tissue": False, "cluster": "serial"}
    wsiparse.run(tmp_path / "drawn.svs", tmp_path / "out", targets=("dark",), **settings)
    readers = [tmp_path / "first/labels", tmp_path / "second/labels", tmp_path / "model"]
    for reader in readers:
        reader.mkdir(parents=True)
        (reader / "drawn__dark.png").write_bytes(png(301, 203))
    given = [part for reader in readers for part in ("--reference", str(reader))]
    assert main(["evaluate", str(tmp_path / "out"), *given]) == 0
    (dark,) = json.loads((tmp_path / "out/agreement.json").read_text())["targets"]
    assert dark["readers"] == ["model", *(str(reader.resolve()) for reader in readers)]
    assert main(["evaluate", str(tmp_path / "out"), *given[:2]]) == 0
    assert not (tmp_path / "out/agreement.json").exists()
    with pytest.raises(InputError, match="two readers"):
        compare_readers(Run(tmp_path / "out"), [readers[0], readers[0]])


@pytest.mark.parametrize("shown", ["no outline", "no class", "no pixel", "another target"])
def test_a_reference_that_shows_nothing_is_named(
    make_slide: MakeSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str], shown: str
) -> None:
    slide = make_slide(301, 203)
    (tmp_path / "m.csv").write_text(f"id,slide\none,{slide}\ntwo,{slide}\n")
    settings: dict[str, Any] = {"model": "tests.tiny:build_tone", "tissue": False, "cluster": "serial"}
    wsiparse.run(tmp_path / "m.csv", tmp_path / "out", targets=("dark", "light"), **settings)
    (tmp_path / "ref").mkdir()
    one = {
        "no outline": ("one.geojson", b'{"type": "FeatureCollection", "features": []}'),
        "no class": ("one.geojson", outline(SQUARE, "").replace(b'"classification": {"name": ""}', b'"x": 1')),
        "no pixel": ("one__dark.png", black(301, 203)),
        "another target": ("one__dark.png", black(301, 203)),
    }[shown]
    (tmp_path / "ref" / one[0]).write_bytes(one[1])
    command = ["evaluate", str(tmp_path / "out"), "--reference", str(tmp_path / "ref")]
    if shown == "another target":
        (tmp_path / "ref/two__light.png").write_bytes(png(301, 203))
        assert main(command) == 3
        assert "not compared: one: the reference shows nothing" in capsys.readouterr().out
    else:
        assert main(command) == 2
        assert "one: the reference shows nothing of what was looked for" in capsys.readouterr().err


def test_a_label_drawn_around_many_cells_asks_what_was_found_inside(
    make_slide: MakeSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_slide(301, 203)
    settings: dict[str, Any] = {"model": "tests.tiny:build_tone", "tissue": False, "cluster": "serial"}
    results = wsiparse.run(tmp_path / "drawn.svs", tmp_path / "out", targets=("dark", "light"), **settings)
    dark, light = (np.asarray(results.probability(name)) >= 153 for name in ("dark", "light"))
    (tmp_path / "ref").mkdir()
    (tmp_path / "ref/drawn.geojson").write_bytes(outline(SQUARE, "Around the tumour"))
    (tmp_path / "map.toml").write_text('[classes]\n"Around the tumour" = "within: dark"\n')
    command = ["evaluate", str(tmp_path / "out"), "--reference", str(tmp_path / "ref")]
    capsys.readouterr()
    assert main([*command, "--mapping", str(tmp_path / "map.toml")]) == 0
    assert "inside labels" in capsys.readouterr().out
    document = json.loads((tmp_path / "out/evaluation.json").read_text())
    inside = (slice(10, 200), slice(10, 200))
    one, pooled = document["regions"]
    assert (one["slide"], pooled["slide"], one["target"]) == ("drawn", "", "dark")
    assert one["area"] == 190 * 190
    assert one["agreeing"] == int(dark[inside].sum())
    assert one["found"] == int((dark | light)[inside].sum())
    assert one["agreement"] == pytest.approx(one["agreeing"] / one["found"])
    assert document["targets"] == []  # of single pixels and of other targets such a label says nothing
