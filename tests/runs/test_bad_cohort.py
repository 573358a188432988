"""Twelve good slides among twelve bad ones: the good are done, each bad one is named with its reason, now and later."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import MakeSlide
from tests.drawing import CMU_1, draw_array, draw_tissue, write_slide
from wsiparse.cli import main
from wsiparse.runs.run import open_run

MODEL = ["--model", "tests.tiny:build_tone", "--cluster", "serial"]
SIZE = (301, 203)


def draw(path: Path, mpp: float | None = 0.5) -> None:
    write_slide(path, SIZE, mpp, draw_array(draw_tissue(*SIZE)))


def truncate(path: Path) -> None:
    path.write_bytes(CMU_1.read_bytes()[:500_000])


def corrupt_tiles(path: Path) -> None:
    """Every tile of level 0 is noise: nothing of the slide can be seen."""
    draw(path)
    content = bytearray(path.read_bytes())
    content[2000 : len(content) // 2] = os.urandom(len(content) // 2 - 2000)
    path.write_bytes(content)


def lock_away(path: Path) -> None:
    draw(path)
    path.chmod(0)


def fill_folder(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("no slide")


def break_dicom(path: Path) -> None:
    path.write_bytes(b"\0" * 128 + b"DICM" + b"broken" * 50)


BAD: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "truncated.svs": (truncate, {"slide_unreadable"}),
    "empty.svs": (lambda path: path.write_bytes(b""), {"slide_unreadable"}),
    "no-mpp.svs": (lambda path: draw(path, None), {"mpp_missing"}),
    "absurd-mpp.svs": (lambda path: draw(path, 5000.0), {"mpp_missing"}),
    "wrong-ending.svs": (lambda path: path.write_text("a report about a slide"), {"slide_unreadable"}),
    "unreadable.svs": (lock_away, {"slide_unreadable"}),
    "folder.svs": (fill_folder, {"slide_unreadable"}),
    "broken.dcm": (break_dicom, {"slide_unreadable"}),
    "missing.svs": (lambda path: None, {"slide_unreadable"}),
    "damaged-head.svs": (
        lambda path: path.write_bytes(b"II*\0" + CMU_1.read_bytes()[4000:90_000]),
        {"slide_unreadable"},
    ),
}
"""How each is made, and the reasons it may get."""


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """A manifest of 24 slides, good and bad in turn; one of the bad is blank, one has damaged tiles."""
    slides = tmp_path / "slides"
    slides.mkdir()
    draw(slides / "good-0.svs")
    for n in range(1, 12):
        shutil.copy(slides / "good-0.svs", slides / f"good-{n}.svs")
    for name, (make, _) in BAD.items():
        make(slides / name)
    corrupt_tiles(slides / "corrupt-tile.svs")
    write_slide(slides / "blank.svs", SIZE, 0.5, draw_array(draw_tissue(*SIZE) * 0 + 244))
    bad = [*BAD, "corrupt-tile.svs", "blank.svs"]
    pairs = [name for n in range(12) for name in (f"good-{n}.svs", bad[n])]
    text = "id,slide\n" + "".join(f"{Path(name).stem},slides/{name}\n" for name in pairs)
    (tmp_path / "cohort.csv").write_text(text)
    return tmp_path / "cohort.csv"


def states(out: Path, capfd: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    capfd.readouterr()
    assert main(["status", str(out), "--json"]) == 3
    found: dict[str, dict[str, str]] = json.loads(capfd.readouterr().out)
    return found


def test_the_good_are_done_and_the_bad_are_named(
    cohort: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:
        forget_root(monkeypatch, tmp_path / "slides/unreadable.svs")
    out = tmp_path / "out"
    assert main(["run", str(cohort), "-o", str(out), *MODEL]) == 3
    shown = capfd.readouterr().out
    found = states(out, capfd)
    assert len(found) == 24
    assert all(found[f"good-{n}"]["state"] == "done" for n in range(12))
    for name, (_, reasons) in BAD.items():
        entry = found[Path(name).stem]
        assert entry["state"] == "failed", name
        assert entry["reason"] in reasons, (name, entry)
        assert "\n" not in entry["message"]
        assert Path(name).stem in shown
    assert found["blank"]["state"] == "empty"
    assert found["corrupt-tile"]["state"] in {"failed", "done"}
    if found["corrupt-tile"]["state"] == "done":
        assert open_run(out).summary("corrupt-tile")["unreadable_pixels"] > 0
    again = states(out, capfd)
    assert again == found
    rows = (out / "summary.csv").read_text().splitlines()
    assert sum(",done," in row for row in rows) >= 36
    assert any(row.startswith("missing,failed,slide_unreadable,") for row in rows)


def forget_root(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Root may read everything; let this one file answer as it does to anybody else."""
    real = Path.open

    def refuse(self: Path, *arguments: object, **options: object) -> object:
        if self == path:
            raise PermissionError(13, "Permission denied", str(path))
        return real(self, *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)


def test_a_twin_in_the_manifest_is_refused_before_anything_runs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.csv").write_text("id,slide\nx,a.svs\nx,b.svs\n")
    assert main(["run", str(tmp_path / "m.csv"), "-o", str(tmp_path / "out"), *MODEL]) == 2
    assert "several lines" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_failed_slides_are_tried_again_only_when_asked(
    make_slide: MakeSlide, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = make_slide(*SIZE, name="a.svs")
    (tmp_path / "b.svs").write_bytes(b"")
    out = tmp_path / "out"
    command = ["run", str(good), str(tmp_path / "b.svs"), "-o", str(out), *MODEL]
    assert main(command) == 3
    shutil.copy(good, tmp_path / "b.svs")
    assert main(command) == 3
    assert states(out, capfd)["b"]["reason"] == "slide_unreadable"
    assert main([*command, "--retry-failed"]) == 0
    assert open_run(out).state("b") == "done"


def test_status_says_who_runs_and_watches_until_nothing_is_left(
    make_slide: MakeSlide, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["run", str(make_slide(*SIZE)), "-o", str(out), *MODEL]) == 0
    capfd.readouterr()
    assert main(["status", str(out), "--watch"]) == 0
    assert "1 done, 0 empty, 0 failed, 0 pending" in capfd.readouterr().out
