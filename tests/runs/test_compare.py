from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from scipy import stats

from wsiparse.cli import main
from wsiparse.errors import InputError
from wsiparse.evaluation.document import write_summary
from wsiparse.evaluation.measures import Evaluation, Measures
from wsiparse.evaluation.scores import Score
from wsiparse.evaluation.shape import Regularity
from wsiparse.evaluation.table import COLUMNS, write_scores
from wsiparse.runs.compare import METRICS, compare_folders, find_differences, find_trends, list_gains
from wsiparse.runs.run import Run

FIRST = [70, 72, 65, 80, 77, 60, 71, 69]
SECOND = [75, 78, 66, 84, 76, 69, 80, 71]


def evaluated(path: Path, scores: list[Score], source: dict[str, str | None] | None = None) -> Run:
    path.mkdir()
    (path / "run.json").write_text("{}")
    evaluation = Evaluation(tuple(Measures(score, shape=shape_of(n)) for n, score in enumerate(scores)))
    write_scores(path / "evaluation.csv", evaluation)
    write_summary(path / "evaluation.json", evaluation, source)
    return Run(path)


def shape_of(n: int) -> Regularity:
    """Of the n-th score: the more, the less regular."""
    return Regularity(1 - n / 10, 1 - n / 20, 1 / (n + 1))


def of(dices: list[int], target: str = "gland") -> list[Score]:
    """Slides s0, s1 … of so many hundredths of Dice."""
    return [Score(f"s{n}", target, both, 100, 100) for n, both in enumerate(dices)]


def test_slides_left_out_are_told_by_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gland, nuclei = of(FIRST), of(FIRST, "nuclei")
    evaluated(tmp_path / "a", [*gland, *nuclei])
    evaluated(tmp_path / "b", [*gland[1:], *nuclei[:-2]])
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out of ")] == [
        "left out of gland: 1 of the slides, evaluated in one run alone, or without a dice",
        "left out of nuclei: 2 of the slides, evaluated in one run alone, or without a dice",
    ]


def test_the_tests_are_those_of_scipy_on_the_slides_in_pairs(tmp_path: Path) -> None:
    first = evaluated(tmp_path / "a", [*of(FIRST), *of([1, 2], "only here")])
    second = evaluated(tmp_path / "b", list(reversed(of(SECOND))))
    (gland,) = compare_folders(first, second)
    dices = [[n / 100 for n in side] for side in (FIRST, SECOND)]
    differences = [round(b - a, 6) for a, b in zip(*dices, strict=True)]
    assert gland.comparison.wilcoxon_p == pytest.approx(stats.wilcoxon(differences).pvalue)
    assert gland.comparison.t_p == pytest.approx(stats.ttest_rel(*dices).pvalue)
    assert gland.first == pytest.approx(0.705)
    assert gland.second == pytest.approx(0.74875)
    assert gland.comparison.mean.value == pytest.approx(0.04375)
    assert gland.comparison.mean.low > 0
    assert (gland.slides, gland.left_out) == (8, 0)


def test_slides_of_one_run_alone_and_without_a_dice_are_left_out_and_counted(tmp_path: Path) -> None:
    first = evaluated(tmp_path / "a", of(FIRST))
    second = evaluated(tmp_path / "b", [*of(SECOND[:5]), Score("s5", "gland", 0, 0, 0), Score("new", "gland", 1, 2, 2)])
    (gland,) = compare_folders(first, second)
    assert (gland.slides, gland.left_out) == (5, 4)
    assert gland.first == pytest.approx(sum(FIRST[:5]) / 500)


def test_the_command_prints_a_table_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluated(tmp_path / "a", of(FIRST))
    evaluated(tmp_path / "b", of(SECOND[:7]))
    command = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "c.json")]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[1].split()[:5] == ["gland", "7", "0.707", "0.754", "+0.047"]  # 495, 528 and 33 of 700
    assert "left out of gland: 1 of the slides, evaluated in one run alone, or without a dice" in text
    document = json.loads((tmp_path / "c.json").read_text())
    assert document["metric"] == "dice"
    (gland,) = document["targets"]
    assert gland["difference"]["low"] < gland["difference"]["mean"] < gland["difference"]["high"]
    assert 0 < gland["wilcoxon_p"] < 0.05
    assert gland["slides"] == 7


def test_gains_are_held_against_the_shape_of_the_reference(tmp_path: Path) -> None:
    first, second = evaluated(tmp_path / "a", of(FIRST)), evaluated(tmp_path / "b", list(reversed(of(SECOND))))
    gains = list_gains(first, second)
    assert [gain.slide for gain in gains] == [f"s{n}" for n in range(8)]
    differences = [(b - a) / 100 for a, b in zip(FIRST, SECOND, strict=True)]
    trends = find_trends(gains)
    expected = stats.linregress([n / 10 for n in range(8)], differences)
    box = trends["box_ratio"]
    assert (box.slope, box.intercept, box.correlation, box.p_value) == pytest.approx(tuple(expected)[:4], rel=1e-4)
    assert trends["convex_ratio"].slope == pytest.approx(2 * expected.slope, rel=1e-4)
    inertia = stats.linregress([n / (n + 1) for n in range(8)], differences)
    assert trends["inertia_ratio"].slope == pytest.approx(inertia.slope, rel=1e-4)
    page = tmp_path / "page.html"
    assert main(["compare", str(first.path), str(second.path), "--page", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("<circle") == 8 * 3
    assert "gland" in text


def test_one_slide_has_a_difference_and_no_certainty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluated(tmp_path / "a", of([50]))
    evaluated(tmp_path / "b", of([60]))
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "c.json")]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[4:] == ["+0.100", "–", "1.000", "–"]
    (gland,) = json.loads((tmp_path / "c.json").read_text())["targets"]
    assert (gland["difference"]["low"], gland["t_p"]) == (None, None)


def test_runs_that_cannot_be_compared_are_refused_in_one_line(tmp_path: Path) -> None:
    first, other = evaluated(tmp_path / "a", of(FIRST)), evaluated(tmp_path / "b", of(SECOND, "nuclei"))
    with pytest.raises(InputError, match="same manifest"):
        compare_folders(first, other)
    with pytest.raises(InputError, match=r"same manifest.*, both with --hd95"):
        compare_folders(first, first, "hd95_um")
    with pytest.raises(InputError, match="expected one of dice, iou"):
        compare_folders(first, first, "beauty")
    (tmp_path / "b/evaluation.csv").write_text("slide,target\ns0,nuclei\n")
    with pytest.raises(InputError, match=r"wsiparse evaluate .*again"):
        compare_folders(other, first)
    (tmp_path / "a/evaluation.json").unlink()
    with pytest.raises(InputError, match=r"evaluation.json: No such file or directory; run `wsiparse evaluate .*again"):
        list_gains(first, first)
    (tmp_path / "a/evaluation.csv").unlink()
    with pytest.raises(InputError, match=r"evaluation.csv: No such file or directory; run `wsiparse evaluate .*first"):
        compare_folders(first, other)


def parse(run: Run, slide: str, fingerprint: str) -> None:
    """Let a slide of a run be done, from a file of that fingerprint."""
    run.folder(slide).mkdir()
    (run.folder(slide) / "summary.json").write_text(json.dumps({"state": "done", "fingerprint": fingerprint}))


def test_what_sets_two_evaluations_apart_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = evaluated(tmp_path / "a", [*of(FIRST), *of(FIRST, "light")], {"reference": "/anna", "mapping": None})
    second = evaluated(tmp_path / "b", of(SECOND), {"reference": "/ben", "mapping": None})
    for n in range(8):
        parse(first, f"s{n}", "one")
        parse(second, f"s{n}", "another" if n == 0 else "one")
    (gland,) = compare_folders(first, second)
    assert (gland.slides, gland.left_out) == (7, 0)
    assert gland.first == pytest.approx(sum(FIRST[1:]) / 700)
    assert [gain.slide for gain in list_gains(first, second)] == [f"s{n}" for n in range(1, 8)]
    expected = [
        f"only in {first.path}: light",
        "left out, as they are not the same files in both runs: s0",
        "not evaluated alike: reference /anna and /ben",
    ]
    assert find_differences(first, second) == expected
    files = (tmp_path / "c.json", tmp_path / "c.html")
    assert main(["compare", str(first.path), str(second.path), "-o", str(files[0]), "--page", str(files[1])]) == 0
    printed = capsys.readouterr().out
    assert all(line in printed and line in files[1].read_text(encoding="utf-8") for line in expected)
    assert json.loads(files[0].read_text())["differences"] == expected


def test_the_summaries_of_slides_are_read_once_for_each_thing_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (evaluated(tmp_path / name, of(FIRST), {"reference": None}) for name in ("a", "b"))
    for n in range(8):
        parse(first, f"s{n}", "one")
        parse(second, f"s{n}", "one")
    asked: list[tuple[str, str]] = []
    fingerprint = Run.parsed_file

    def count(run: Run, slide: str) -> str | None:
        asked.append((run.path.name, slide))
        return fingerprint(run, slide)

    monkeypatch.setattr(Run, "parsed_file", count)
    files = ["-o", str(tmp_path / "c.json"), "--page", str(tmp_path / "c.html")]
    assert main(["compare", str(first.path), str(second.path), *files]) == 0
    assert set(Counter(asked).values()) == {3}  # for the tests, for what sets the runs apart, and for the gains


def test_runs_that_were_evaluated_alike_are_not_set_apart(tmp_path: Path) -> None:
    runs = [evaluated(tmp_path / name, of(FIRST), {"reference": None, "mapping": None}) for name in ("a", "b")]
    assert find_differences(*runs) == []


def test_every_measure_of_an_evaluation_can_be_compared() -> None:
    counts = {"both", "predicted", "reference", "predicted_objects", "reference_objects", "dice_low", "dice_high"}
    assert set(METRICS) == set(COLUMNS) - {"slide", "target"} - counts
