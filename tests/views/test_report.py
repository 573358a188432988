from __future__ import annotations

import csv
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import MakeSlide
from wsiparse.cli import main
from wsiparse.files import read_json, write_json
from wsiparse.runs.agreement import compare_readers
from wsiparse.runs.evaluate import evaluate_run
from wsiparse.runs.run import open_run
from wsiparse.views.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
VOID = {"meta", "img", "line", "rect", "circle", "text"}


class Page(HTMLParser):
    """The headings, rows and pictures of a page; refuses tags that do not close each other."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.rows: list[list[str]] = []
        self.images: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")
        if tag == "h2":
            self.headings.append("")
        if tag == "img":
            self.images.append(dict(attributes)["src"] or "")
        if tag not in ("meta", "img"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """A shape of a chart."""

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self._open:
            self.rows[-1][-1] += data
        if self._open and self._open[-1] == "h2":
            self.headings[-1] += data


@pytest.fixture
def cohort(make_slide: MakeSlide, tmp_path: Path) -> Path:
    """A run of two tissues, one blank slide and one broken file."""
    make_slide(501, 403, name="one.svs")
    make_slide(402, 350, name="two.svs")
    make_slide(400, 300, pixels=np.full((300, 400, 3), 244, np.uint8), name="blank.svs")
    (tmp_path / "broken.svs").write_bytes(b"<script>alert(1)</script>")
    lines = ["slide", "one.svs", "two.svs", "blank.svs", "broken.svs"]
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "out"
    command = ["run", str(tmp_path / "m.csv"), "-o", str(out), "--cluster", "serial"]
    assert main([*command, "--model", "tests.tiny:build_tone"]) == 3
    return out


@pytest.fixture
def evaluated(cohort: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "labels"
    folder.mkdir()
    for name, width, height in (("one", 501, 403), ("two", 402, 350)):
        values = np.ones((height, width), np.uint8)
        values[:, width // 3 :] = 2
        Image.fromarray(values).save(folder / f"{name}.png")
        (folder / f"{name}.json").write_text('{"1": "dark", "2": "light"}')
    evaluate_run(open_run(cohort), folder)
    return cohort


def read_page(path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"https?://|<script|<link", text), "a report needs nothing else"
    return Page(text)


def test_a_run_without_references_has_its_tables_pictures_and_failures(cohort: Path) -> None:
    assert main(["report", str(cohort)]) == 0
    page = read_page(cohort / "report.html")
    assert page.headings == [
        "Cohort",
        "Failures",
        "Pictures",
        "Typical shapes",
        "Slides",
        "Time by stage",
        "Provenance",
    ]
    rows = {row[0]: row for row in page.rows if row}
    assert rows["one"][1] == "done"
    assert rows["blank"][1] == "empty"
    assert rows["broken"][1] == "failed"
    assert ["broken", "slide_unreadable"] in [row[:2] for row in page.rows]
    assert rows["model"][1] == f"tone, digest {'0' * 64}"
    assert rows["fingerprint"][1] == open_run(cohort).record["fingerprint"]
    # Of the slides that could be read as they are and with their maps, and three typical shapes.
    assert len(page.images) == 2 * 3 + 3


def test_pixels_that_could_not_be_read_are_said_wherever_a_run_is_shown(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, count in (("two", 4096), ("blank", 77)):
        summary = read_json(cohort / name / "summary.json")
        write_json(cohort / name / "summary.json", {**summary, "unreadable_pixels": count})
    page = read_page(write_report(open_run(cohort)))
    assert ["two", "4096"] in page.rows
    assert "Unreadable pixels" in page.headings
    capsys.readouterr()
    assert main(["status", str(cohort)]) == 3
    assert main(["status", str(cohort), "--json"]) == 3
    command = ["run", str(tmp_path / "m.csv"), "-o", str(cohort), "--cluster", "serial"]
    assert main([*command, "--model", "tests.tiny:build_tone"]) == 3
    printed = capsys.readouterr().out
    assert printed.count("two: 4096 pixels could not be read and were taken as white") == 2
    assert printed.count('"unreadable_pixels": 4096') == 1
    with (cohort / "summary.csv").open(newline="") as file:
        told = {row["slide"]: (row["tissue_share"], row["unreadable_pixels"]) for row in csv.DictReader(file)}
    assert told["two"][1] == "4096"
    assert told["blank"] == ("0.0", "77"), "of a slide without tissue, too"


def test_what_the_report_says_is_what_the_files_say(evaluated: Path) -> None:
    page = read_page(write_report(open_run(evaluated)))
    assert "Agreement with the references" in page.headings
    assert "Confusion within a group" in page.headings
    assert "Calibration of the probabilities" in page.headings
    assert page.headings.index("Worst and best tiles") < page.headings.index("Pictures") < page.headings.index("Slides")
    # And two references, three typical shapes; three tiles and three of each of two targets.
    assert len(page.images) == 2 * 3 + 2 + 3 + 2 * (3 + 3)
    with (evaluated / "evaluation.csv").open(newline="") as file:
        dices = {(row["slide"], row["target"]): float(row["dice"]) for row in csv.DictReader(file) if row["dice"]}
    slide = ""
    seen = 0
    for row in (row for row in page.rows if len(row) == 11 and row[0] not in ("dark", "light")):
        slide = row[0] or slide
        if (slide, row[5]) in dices:
            assert row[10] == f"{dices[slide, row[5]]:.3f}"
            seen += 1
    assert seen == 4
    shares = [float(cell.strip("%")) for row in page.rows if len(row) == 3 and row[1].endswith("%") for cell in row]
    assert sum(shares) == pytest.approx(200, abs=0.5)  # two annotated targets, each a whole
    for entry in read_json(evaluated / "evaluation.json")["targets"]:
        (row,) = [row for row in page.rows if len(row) == 11 and row[0] == entry["target"]]
        assert row[6:9] == [f"{entry[name]:.3f}" for name in ("iou", "precision", "recall")]


@pytest.mark.parametrize("damage", [lambda whole: whole[:99], lambda whole: whole[:4] + bytes(400) + whole[404:]])
def test_a_slide_whose_outlines_are_damaged_is_named_and_the_others_are_shown(
    cohort: Path, damage: Callable[[bytes], bytes]
) -> None:
    outlines = cohort / "two/annotations.parquet"
    outlines.write_bytes(damage(outlines.read_bytes()))
    page = read_page(write_report(open_run(cohort)))
    assert "Damaged results" in page.headings
    (row,) = [row for row in page.rows if row and row[0] == "two" and len(row) == 2]
    assert "delete the slide's folder and run again" in row[1]
    assert len(page.images) == 2 * 3 + 3


def test_a_slide_whose_maps_are_damaged_is_named_and_the_others_are_shown(cohort: Path) -> None:
    for shard in cohort.glob("two/parse.zarr/*/*/c/0/0/0"):
        shard.write_bytes(shard.read_bytes()[:60])
    page = read_page(write_report(open_run(cohort)))
    (row,) = [row for row in page.rows if row and row[0] == "two" and len(row) == 2]
    assert "delete the slide's folder and run again" in row[1]
    assert len(page.images) == 2 * 2 + 3


def test_a_slide_whose_maps_were_deleted_is_not_shown_as_if_nothing_was_found(evaluated: Path) -> None:
    shutil.rmtree(evaluated / "two/parse.zarr")
    text = write_report(open_run(evaluated)).read_text(encoding="utf-8")
    assert 'alt="one with its maps"' in text
    assert 'alt="two with its maps"' not in text
    assert 'alt="two with its reference"' in text
    assert re.search(r"two · Dice: [^<]+ · its maps are gone<", text)


def test_a_slide_whose_maps_are_damaged_is_said_among_the_others(evaluated: Path) -> None:
    (evaluated / "two/parse.zarr/0.5um/zarr.json").write_text("{")
    text = write_report(open_run(evaluated)).read_text(encoding="utf-8")
    assert 'alt="one with its maps"' in text
    assert 'class="failed">' in text
    assert "two · Dice: " in text


def test_of_many_slides_those_of_lowest_dice_are_shown(evaluated: Path) -> None:
    page = read_page(write_report(open_run(evaluated), pictures=1))
    assert len(page.images) == 3 + 3 + 2 * (3 + 3)
    assert "2 slides are not shown" in (evaluated / "report.html").read_text(encoding="utf-8")
    assert main(["report", str(evaluated), "--pictures", "-1"]) == 2


def test_names_that_look_like_html_are_shown_and_moved_slides_are_said(evaluated: Path, tmp_path: Path) -> None:
    (evaluated / "broken/failed.json").write_text('{"reason": "x", "message": "<b>bold</b> & co", "traceback": ""}')
    (tmp_path / "one.svs").unlink()
    shutil.rmtree(tmp_path / "labels")
    text = write_report(open_run(evaluated)).read_text(encoding="utf-8")
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; co" in text
    assert 'class="failed">' in text
    assert len(Page(text).images) == 2 * 2 + 3


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_draws_it(evaluated: Path, tmp_path: Path) -> None:
    page = write_report(open_run(evaluated)).as_uri()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    command = [str(CHROMIUM), *flags, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,5200"]
    picture = tmp_path / "report.png"
    subprocess.run([*command, f"--screenshot={picture}", page], check=True, capture_output=True, timeout=120)
    dom = subprocess.run([*command, "--dump-dom", page], check=True, capture_output=True, timeout=120, text=True).stdout
    assert {"one", "two", "blank", "broken"} <= {row[0] for row in Page(dom).rows if row}
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.shape == (5200, 1200, 3)
    assert (pixels.min(axis=2) > 250).mean() > 0.3, "a page is mostly white"
    blue = (np.abs(pixels - (0x5B, 0x7F, 0xB5)) < 4).all(axis=2)
    assert blue.sum() > 2000, "the bars of the stages are drawn"


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_long_names_and_paths_stay_on_the_page(cohort: Path, tmp_path: Path) -> None:
    failure = {"reason": "slide_unreadable", "message": f"/archive/{'y' * 300}.svs: cut off", "traceback": ""}
    write_json(cohort / "broken/failed.json", failure)
    text = write_report(open_run(cohort)).read_text(encoding="utf-8")
    measure = "<script>document.title = document.documentElement.scrollWidth</script></body>"
    (tmp_path / "measured.html").write_text(text.replace("</body>", measure), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [str(CHROMIUM), *flags, "--window-size=1200,900", "--dump-dom", (tmp_path / "measured.html").as_uri()]
    dom = subprocess.run(command, check=True, capture_output=True, timeout=120, text=True).stdout
    assert int(re.findall("<title>([0-9]+)</title>", dom)[0]) <= 1200


def test_readers_who_were_held_against_each_other_are_shown(evaluated: Path, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "labels", tmp_path / "ben")
    compare_readers(open_run(evaluated), [tmp_path / "labels", tmp_path / "ben"])
    page = read_page(write_report(open_run(evaluated)))
    assert "Agreement of the readers" in page.headings
    assert ["labels", "1.000", "1.000"] in [[row[0], *row[2:]] for row in page.rows if len(row) == 4]
