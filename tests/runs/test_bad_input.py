"""Whatever is wrong gets one line (found, expected, what to do) and the right exit code, and loses nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import MakeSlide
from wsiparse.cli import main
from wsiparse.runs.run import open_run

MODEL = ["--model", "tests.tiny:build_tone", "--cluster", "serial"]


def run_main(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = main([str(argument) for argument in arguments])
    return code, "".join(capfd.readouterr())


def refuse(capfd: pytest.CaptureFixture[str], text: str, *arguments: object) -> None:
    code, output = run_main(capfd, *arguments)
    assert code == 2, output
    assert text in output
    assert "Traceback" not in output


def test_missing_file(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    refuse(capfd, "no such file", "run", tmp_path / "none.svs", "-o", tmp_path / "out", *MODEL)
    assert not (tmp_path / "out").exists()


def test_directory_with_no_slide(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refuse(capfd, "no slide found", "run", tmp_path / "empty", "-o", tmp_path / "out", *MODEL)


@pytest.mark.parametrize(
    ("name", "content"), [("notes.xyz", b"hello"), ("broken.svs", b"II*\0junk"), ("nothing.svs", b"")]
)
def test_a_file_that_is_no_slide(capfd: pytest.CaptureFixture[str], tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    refuse(capfd, name, "run", tmp_path / name, "-o", tmp_path / "out", *MODEL)


def test_truncated_slide(capfd: pytest.CaptureFixture[str], cmu_1: Path, tmp_path: Path) -> None:
    whole = cmu_1.read_bytes()
    (tmp_path / "cut.svs").write_bytes(whole[: len(whole) // 2])
    refuse(capfd, "cut.svs", "run", tmp_path / "cut.svs", "-o", tmp_path / "out", *MODEL)


def test_slide_without_mpp_names_the_ways_to_give_one(
    capfd: pytest.CaptureFixture[str], make_slide: MakeSlide, tmp_path: Path
) -> None:
    slide = make_slide(300, 200, None)
    refuse(capfd, "--mpp", "run", slide, "-o", tmp_path / "out", *MODEL)
    code, _ = run_main(capfd, "run", slide, "-o", tmp_path / "out2", "--mpp", "0.5", "--no-tissue", *MODEL)
    assert code == 0


def test_an_mpp_for_slides_without_one_leaves_the_others_as_they_are(make_slide: MakeSlide, tmp_path: Path) -> None:
    slides = [make_slide(300, 200), make_slide(300, 200, None, name="plain.svs")]
    command = ["run", *map(str, slides), "-o", str(tmp_path / "out"), "--mpp", "1", "--no-tissue", *MODEL]
    assert main(command) == 0
    run = open_run(tmp_path / "out")
    found = {name: (run.summary(name)["mpp"], run.summary(name)["mpp_source"]) for name in ("drawn", "plain")}
    assert found == {"drawn": (0.5, "openslide.mpp"), "plain": (1.0, "settings")}


def test_a_slide_without_tissue_is_named_with_a_way_out(
    capfd: pytest.CaptureFixture[str], make_slide: MakeSlide, tmp_path: Path
) -> None:
    white = make_slide(600, 400, pixels=np.full((400, 600, 3), 244, np.uint8))
    code, output = run_main(capfd, "run", white, "-o", tmp_path / "out", *MODEL)
    assert code == 0
    assert "empty drawn: no tissue found" in output
    assert "--no-tissue" in output


@pytest.mark.parametrize("mpp", ["0", "100", "-1"])
def test_absurd_mpp(capfd: pytest.CaptureFixture[str], make_slide: MakeSlide, tmp_path: Path, mpp: str) -> None:
    refuse(capfd, mpp, "run", make_slide(300, 200), "-o", tmp_path / "out", "--mpp", mpp, *MODEL)


def test_a_list_of_no_targets_is_not_all_of_them(cmu_1: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", str(cmu_1), "-o", str(tmp_path / "out"), "--targets", ",", *MODEL])


def test_unknown_target_offers_the_nearest(capfd: pytest.CaptureFixture[str], cmu_1: Path, tmp_path: Path) -> None:
    refuse(capfd, "nearest: dark", "run", cmu_1, "-o", tmp_path / "out", "--targets", "drak", *MODEL)
    refuse(capfd, "unknown target", "run", cmu_1, "-o", tmp_path / "out", "--prompt", "hello world", *MODEL)


def test_output_of_another_plan(capfd: pytest.CaptureFixture[str], make_slide: MakeSlide, tmp_path: Path) -> None:
    slide, out = make_slide(300, 200), tmp_path / "out"
    assert run_main(capfd, "run", slide, "-o", out, "--no-tissue", *MODEL)[0] == 0
    refuse(capfd, "--overwrite", "run", slide, "-o", out, "--no-tissue", "--overlap", "32", *MODEL)
    assert (out / "drawn/summary.json").exists()
    assert run_main(capfd, "run", slide, "-o", out, "--no-tissue", "--overlap", "32", "--overwrite", *MODEL)[0] == 0


def test_folder_of_other_files_is_left_alone(capfd: pytest.CaptureFixture[str], cmu_1: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    refuse(capfd, "holds files but no run", "run", cmu_1, "-o", tmp_path, "--overwrite", *MODEL)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_unwritable_output(capfd: pytest.CaptureFixture[str], cmu_1: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    refuse(capfd, "cannot write", "run", cmu_1, "-o", tmp_path / "file/out", *MODEL)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--overlap", "63"], "multiple of 2"),
        (["--overlap", "84"], "less than the tile"),
        (["--memory-gb", "0.1"], "GB of memory"),
        (["--memory-gb", "inf"], "finite number"),
        (["--simplify", "inf"], "finite number"),
        (["--model", "no-such-model"], "wsiparse-open-1"),
        (["--cluster", "tcp://127.0.0.1:1"], "no scheduler"),
        (["--device", "cuda:99", "--model", "wsiparse-open-1"], "device"),
    ],
)
def test_settings_that_cannot_be(
    capfd: pytest.CaptureFixture[str], cmu_1: Path, tmp_path: Path, options: list[str], text: str
) -> None:
    refuse(capfd, text, "run", cmu_1, "-o", tmp_path / "out", *MODEL, *options)


def test_a_config_with_a_wrong_key(capfd: pytest.CaptureFixture[str], cmu_1: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("overlapp = 3\n")
    refuse(capfd, "overlapp", "run", cmu_1, "-o", tmp_path / "out", "--config", tmp_path / "run.toml", *MODEL)


def test_some_of_several_failed(capfd: pytest.CaptureFixture[str], make_slide: MakeSlide, tmp_path: Path) -> None:
    make_slide(300, 200, name="good.svs")
    (tmp_path / "bad.svs").write_bytes(b"not a slide")
    code, output = run_main(capfd, "run", tmp_path, "-o", tmp_path / "out", "--no-tissue", *MODEL)
    assert code == 3
    assert "bad" in output
    code, output = run_main(capfd, "status", tmp_path / "out")
    assert code == 3
    assert "1 done" in output
    assert "slide_unreadable" in output


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("path\na.svs\n", "one named 'slide'"),
        ("slide,mpp\na.svs,fast\n", "'mpp'"),
        ("slide,mpp\na.svs,-1\n", "'mpp'"),
        ("id,slide\nx,a.svs\nx,b.svs\n", "several lines"),
        ("id,slide\n../x,a.svs\n", "'id'"),
        ("id,slide\nx,\n", "no slide given"),
        ("slide\n", "no slide found"),
        ('slide,note\na.svs,\nb.svs,"see Anna\nc.svs,\n', "line 3: unexpected end of data"),
        ('slide,note\na.svs,"see Anna\nb.svs,"see Ben\n', "line 2: ',' expected after"),
        ('slide\n"a.svs\nb.svs"\n', "a.svs\\nb.svs', expected a path on one line"),
        ("slide\na\0.svs\n", "a\\x00.svs', expected a path on one line"),
        ("slide,mpp\n\n\na.svs,fast\n", "line 4"),
        ("slide,mpp,mpp\na.svs,1,2\n", "several columns named 'mpp'"),
        ("slide,targets\na.svs,nuclei,stroma\n", "line 2: 'stroma' stands beyond the last column"),
    ],
)
def test_wrong_manifests(capfd: pytest.CaptureFixture[str], tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    refuse(capfd, found, "run", tmp_path / "m.csv", "-o", tmp_path / "out", *MODEL)


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "wsiparse", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("wsiparse ")
