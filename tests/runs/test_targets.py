from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import wsiparse
from tests.conftest import MakeSlide
from tests.tiny import DARK, LIGHT, RED, ToneModel
from wsiparse.cli import main
from wsiparse.errors import InputError, TargetError
from wsiparse.maps.canvas import list_canvases
from wsiparse.models.load import ModelSpec, load_model
from wsiparse.models.model import TextModel, TextVectors
from wsiparse.ontology import Ontology, Target, load_ontology
from wsiparse.runs.targets import Match, Similarity, choose_targets, match_text, rank_targets, refuse_site

TONES = Ontology((DARK, LIGHT, RED))
CELLS = load_ontology("pathology")


def embed_letters(texts: Sequence[str]) -> TextVectors:
    """How often each letter stands in a text: words that share letters are near."""
    counts = np.array([[text.count(chr(97 + n)) for n in range(26)] for text in texts], np.float32)
    unit: TextVectors = counts / np.linalg.norm(counts, axis=1, keepdims=True)
    return unit


LETTERS = Similarity(0.8, embed_letters)


def test_a_name_is_taken_without_asking_the_model() -> None:
    def fail(texts: Sequence[str]) -> TextVectors:
        raise AssertionError(texts)

    assert match_text(TONES, "Dark things", Similarity(0.8, fail)) == Match("Dark things", DARK, 1.0)


def test_free_text_is_taken_for_the_nearest_wording() -> None:
    match = match_text(TONES, "lights", LETTERS)
    assert (match.target, match.is_exact) == (LIGHT, False)
    assert match.score == pytest.approx(10 / np.sqrt(114), abs=1e-6)
    assert str(match) == "'lights' → light (0.94)"
    assert next(iter(rank_targets(TONES, "lights", LETTERS))).target is LIGHT


def test_free_text_that_is_near_nothing_is_refused_with_scores() -> None:
    with pytest.raises(
        TargetError, match=r"unknown target 'zebu'; nearest: red \(0\.\d\d\), .* a score of 0\.80"
    ) as caught:
        match_text(TONES, "zebu", LETTERS)
    assert "\n" not in str(caught.value)


def test_a_model_without_text_refuses_with_the_nearest_names() -> None:
    with pytest.raises(TargetError, match="unknown target 'lights'; nearest: light"):
        match_text(TONES, "lights", None)


SEVERAL = ("light, dark", "dark things; red", "light AND stroma", "zebu or dark", "red / bone")
RELATED = ("dark things outside light", "red in light", "Light-without RED")


@pytest.mark.parametrize("text", [*SEVERAL, *RELATED])
def test_a_text_that_asks_for_several_things_is_refused(text: str) -> None:
    def fail(texts: Sequence[str]) -> TextVectors:
        raise AssertionError(texts)

    with pytest.raises(TargetError, match=r"several things: .*; expected one a text; give each its own --prompt"):
        match_text(TONES, text, Similarity(0.8, fail))


@pytest.mark.parametrize("text", ["no light", "everything but dark things", "NOT red", "tissue without light"])
def test_a_text_that_says_what_is_not_wanted_is_refused(text: str) -> None:
    with pytest.raises(TargetError, match=r"says what is not wanted: .* expected what to find alone"):
        match_text(TONES, text, LETTERS)


def test_one_target_may_be_named_twice_in_a_text() -> None:
    assert match_text(TONES, "dark things in dark tissue", Similarity(0.5, embed_letters)).target is DARK
    assert match_text(TONES, "lights in delight", Similarity(0.5, embed_letters)).target is LIGHT


def test_a_wording_may_hold_what_joins_others() -> None:
    both = dataclasses.replace(RED, name="light, red and dark")
    assert match_text(Ontology((DARK, LIGHT, both)), "Light, red and dark", LETTERS).is_exact
    assert not match_text(TONES, "lightand", LETTERS).is_exact


def test_targets_come_once_in_the_order_of_the_ontology() -> None:
    matches = [match_text(TONES, text, None) for text in ("red", "dark things", "dark")]
    assert choose_targets(TONES, matches) == (DARK, RED)
    assert choose_targets(TONES, []) == TONES.targets
    with pytest.raises(InputError, match="no target"):
        choose_targets(Ontology(()), [])


def test_a_target_at_two_sites_is_refused() -> None:
    texts = ("neoplastic cells in breast pathology", "neoplastic cells in colon pathology")
    matches = [match_text(CELLS, text, None) for text in texts]
    assert choose_targets(CELLS, matches[:1])[0].prompt == texts[0]
    with pytest.raises(InputError, match="expected one of them"):
        choose_targets(CELLS, matches)


def test_a_site_must_fit_what_is_asked_for() -> None:
    refuse_site(CELLS.targets, [], "colon")
    with pytest.raises(TargetError, match="'breast cancer cells' is not looked for at 'colon'; expected breast"):
        refuse_site(CELLS.targets, [match_text(CELLS, "breast cancer cells", None)], "colon")
    with pytest.raises(TargetError, match="no target here knows sites"):
        refuse_site(TONES.targets, [], "colon")


PARAPHRASES = {
    "intestinal glands": "glandular structure",
    "colonic glands": "glandular structure",
    "colon polyps": "polyp",
    "low grade neoplasia": "low-grade intraepithelial neoplasia",
    "high grade dysplastic gland": "high-grade intraepithelial neoplasia",
    "colorectal carcinoma": "colorectal adenocarcinoma",
    "cellular nuclei": "nuclei",
}
UNRELATED = (
    "hello world",
    "dog",
    "bone",
    "glomerulus",
    "stroma",
    "blood vessel",
    "COVID-19 infection",
    "left ventricle",
)


@pytest.fixture(scope="module")
def shipped() -> tuple[Ontology, Similarity]:
    model = load_model(ModelSpec(device="cpu"))
    assert isinstance(model, TextModel)
    return Ontology(model.targets), Similarity(model.least_similarity, model.embed_texts)


@pytest.mark.parametrize("text", PARAPHRASES)
def test_the_shipped_model_knows_paraphrases(shipped: tuple[Ontology, Similarity], text: str) -> None:
    assert match_text(shipped[0], text, shipped[1]).target.name == PARAPHRASES[text]


@pytest.mark.parametrize("text", UNRELATED)
def test_the_shipped_model_refuses_unrelated_words(shipped: tuple[Ontology, Similarity], text: str) -> None:
    with pytest.raises(TargetError, match="nearest: "):
        match_text(shipped[0], text, shipped[1])


@pytest.mark.parametrize(
    ("prompts", "reason"),
    [
        (("Ki67+ nuclei", "Ki67- nuclei"), "'Ki67+ nuclei' and 'Ki67- nuclei' are the same to the model"),
        (("腺体", "nuclei"), "prompt '腺体' holds no word"),
    ],
)
def test_prompts_that_the_shipped_model_cannot_tell_apart_or_read_are_refused_before_a_slide_is(
    make_slide: MakeSlide, tmp_path: Path, capfd: pytest.CaptureFixture[str], prompts: tuple[str, str], reason: str
) -> None:
    tables = [
        f'[[target]]\nname = "{text}"\nprompt = "{text}"\ngroup = "{text}"\nmpp = 0.5\ncolor = "Other"'
        for text in prompts
    ]
    (tmp_path / "own.toml").write_text("\n".join(tables), encoding="utf-8")
    command = ["run", str(make_slide(200, 160)), "-o", str(tmp_path / "out"), "--cluster", "serial"]
    assert main([*command, "--ontology", str(tmp_path / "own.toml")]) == 2
    assert reason in capfd.readouterr().err
    assert not (tmp_path / "out/run.json").exists()


@dataclasses.dataclass(frozen=True)
class WordyModel(ToneModel):
    """Tells wordings apart by their letters, and light by its site."""

    targets: tuple[Target, ...] = (
        dataclasses.replace(DARK, prompt="dark in [site] pathology", sites=("colon", "skin")),
        dataclasses.replace(LIGHT, prompt="light in [site] pathology", sites=("skin",)),
        RED,
    )
    least_similarity: float = 0.8

    def embed_texts(self, texts: Sequence[str]) -> TextVectors:
        return embed_letters(texts)


def build_wordy(spec: ModelSpec) -> WordyModel:
    return WordyModel()


WORDY: dict[str, Any] = {"model": "tests.runs.test_targets:build_wordy", "tissue": False, "cluster": "serial"}


def list_prompts(folder: Path) -> set[str]:
    return {target.prompt for canvas in list_canvases(folder / "parse.zarr") for target in canvas.targets}


@pytest.mark.parametrize("cluster", ["serial", "local"])
def test_a_run_records_what_free_text_was_taken_for(make_slide: MakeSlide, tmp_path: Path, cluster: str) -> None:
    settings = {**WORDY, "cluster": cluster}
    results = wsiparse.run(make_slide(200, 160), tmp_path / "out", prompts=["lights", "red"], **settings)
    matches = [{"text": "lights", "target": "light", "score": 0.9129}, {"text": "red", "target": "red", "score": 1.0}]
    assert results.run.record["matches"] == matches


def test_each_slide_is_asked_for_its_site(make_slide: MakeSlide, tmp_path: Path) -> None:
    make_slide(200, 160, name="a.svs")
    make_slide(200, 160, name="b.svs")
    make_slide(200, 160, name="c.svs")
    (tmp_path / "cohort.csv").write_text("slide,site\na.svs,colon\nb.svs,\nc.svs,skin\n")
    wsiparse.run(tmp_path / "cohort.csv", tmp_path / "out", site="skin", **WORDY)
    skin = {"dark in skin pathology", "light in skin pathology", "red things"}
    assert list_prompts(tmp_path / "out/a") == {"dark in colon pathology", "red things"}
    assert list_prompts(tmp_path / "out/b") == list_prompts(tmp_path / "out/c") == skin


def test_a_wrong_site_in_a_manifest_is_refused_before_anything_runs(make_slide: MakeSlide, tmp_path: Path) -> None:
    make_slide(200, 160, name="a.svs")
    (tmp_path / "cohort.csv").write_text("slide,site,targets\na.svs,colon,light\n")
    with pytest.raises(TargetError, match="slide a: none of its targets is looked for at site 'colon'"):
        wsiparse.run(tmp_path / "cohort.csv", tmp_path / "out", **WORDY)
    (tmp_path / "cohort.csv").write_text("slide,site\na.svs,centre 3\n")
    with pytest.raises(TargetError, match="slide a: site 'centre 3': no target is looked for there"):
        wsiparse.run(tmp_path / "cohort.csv", tmp_path / "out", **WORDY)
    assert not (tmp_path / "out/run.json").exists()


def test_the_command_line_shows_what_free_text_was_taken_for(
    make_slide: MakeSlide, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--prompt", "lights", "--model", WORDY["model"], "--no-tissue", "--cluster", "serial"]
    slide = str(make_slide(200, 160))
    assert main(["plan", slide, *arguments]) == 0
    assert "'lights' → light (0.91)" in capfd.readouterr().out
    assert main(["run", slide, "-o", str(tmp_path / "out"), *arguments]) == 0
    events = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert (events[0]["event"], events[0]["slide"]) == ("matched", "'lights' → light (0.91)")
    assert main(["plan", slide, *arguments, "--least-similarity", "0.95"]) == 2
    assert "nearest: light (0.91)" in capfd.readouterr().err


def test_the_command_line_says_what_is_unwise_before_the_slides(
    make_slide: MakeSlide, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    arguments = ["--model", WORDY["model"], "--no-tissue", "--cluster", "serial", "--device", "cpu"]
    command = ["run", str(make_slide(200, 160)), *arguments, "--precision", "bfloat16"]
    assert main([*command, "-o", str(tmp_path / "out")]) == 0
    events = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert events[0]["event"] == "warned"
    assert "this processor does not multiply in it" in events[0]["slide"]
    assert main(["plan", *command[1:]]) == 0
    assert "this processor does not multiply in it" in capfd.readouterr().out
