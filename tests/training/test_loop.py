from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from tests.training.teaching import TILES
from wsiparse.errors import InputError, ModelError, RunError, TargetError
from wsiparse.models.load import ModelSpec, find_licence, list_models, load_model
from wsiparse.models.open_network import Sizes
from wsiparse.models.weight_file import read_weights
from wsiparse.ontology import Ontology, Target, load_ontology
from wsiparse.runs.lock import hold_lock
from wsiparse.training.batches import BatchSource, invent_word, list_prompts, refuse_alike, word_prompt
from wsiparse.training.loop import (
    UNASKED,
    advance,
    predict_logits,
    schedule_rate,
    start_session,
    take_step,
    teach,
    train,
    update_average,
)
from wsiparse.training.progress import Log
from wsiparse.training.settings import TrainingSettings, read_settings
from wsiparse.training.sources import choose_targets, load_lesson
from wsiparse.training.students import start_student

ROOT = Path(__file__).parents[2]
CONFIG = """
name = "tiny"
data = "{data}"
examples = "{data}/examples.csv"
ontology = "{root}/configs/ontology/open-1.toml"
targets = ["glandular structure", "polyp", "colorectal adenocarcinoma", "normal gland", "serrated adenoma",
    "low-grade intraepithelial neoplasia", "high-grade intraepithelial neoplasia"]
out = "out"
steps = 4
batch = 2
crop = 32
tile = 64
warmup_steps = 2
log_every = 1
check_every = 2
check_pictures = 2
device = "cpu"
templates = ["{{}}", "find {{}}"]
[sizes]
channels = [8, 16]
blocks = [1, 1]
embedding = 8
text_width = 16
text_heads = 2
buckets = 64
[notes]
data = "six images"
"""


pytestmark = pytest.mark.usefixtures("one_thread")


def copy_data(folder: Path) -> Path:
    """The six images to learn from, and one of them mirrored as an image kept apart."""
    shutil.copytree(ROOT / "tests/data/ebhi", folder)
    head, *rows = (folder / "examples.csv").read_text().splitlines()
    for name in rows[0].split(",")[:2]:
        with Image.open(folder / name) as image:
            ImageOps.mirror(image).save(folder / f"mirrored_{name}", lossless=True)
    kept = "mirrored_" + rows[0].replace(",adeno", ",mirrored_adeno").replace(",GT", ",other-GT")
    rows = [row.replace(",test", ",train") for row in rows]
    (folder / "examples.csv").write_text("\n".join([head, *rows, kept]))
    return folder


def write_config(folder: Path, **changes: str) -> Path:
    data = folder / "data"
    if not data.exists():
        copy_data(data)
    text = CONFIG.format(data=data, root=ROOT)
    for key, value in changes.items():
        lines = [f"{key} = {value}" if line.startswith(f"{key} = ") else line for line in text.splitlines()]
        text = "\n".join(lines)
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


def test_training_writes_weights_that_load_and_a_log(tmp_path: Path) -> None:
    path = train(write_config(tmp_path))
    model = load_model(ModelSpec(str(path), "cpu"))
    assert (model.name, model.tile, len(model.targets)) == ("tiny", 64, 7)
    assert model.predict(np.zeros((1, 64, 64, 3), np.uint8), model.targets[:2]).shape == (1, 2, 64, 64)
    assert read_weights(path)[0].training["data"] == "six images"
    lines = read_log(tmp_path / "out")
    assert lines[0] == {"step": 0, "samples": 6, "skipped": {}, "remarks": []}
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4]
    assert all(math.isfinite(line["loss"]) for line in lines if "loss" in line)
    assert [line["step"] for line in lines if "polyp" in line] == [2, 4]
    with Image.open(tmp_path / "out/samples/step-000004.png") as overlay:
        assert overlay.size == (3 * (2 * 32 + 4), 2 * 32 + 4)


def test_images_known_to_show_no_target_are_learned_from_and_checked(tmp_path: Path) -> None:
    config, table = write_config(tmp_path), tmp_path / "data/examples.csv"
    head, *rows = table.read_text().splitlines()
    for part, side in (("train", 40), ("test", 41)):
        Image.new("RGB", (side, side), (200, 150, 180)).save(tmp_path / f"data/{part}.png")
    bare = [f"{part}.png,,,bare-{part},{part},glandular structure;polyp" for part in ("train", "test")]
    table.write_text("\n".join([f"{head},absent", *(f"{row}," for row in rows), *bare]))
    train(config)
    assert read_log(tmp_path / "out")[0] == {"step": 0, "samples": 7, "skipped": {}, "remarks": []}


def test_a_stopped_run_ends_as_one_that_ran_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    through, stopped = tmp_path / "a", tmp_path / "b"
    through.mkdir()
    stopped.mkdir()
    whole = train(write_config(through))
    config = write_config(stopped, check_every="3")
    monkeypatch.setattr(Log, "write", stop_after_checkpoint)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    monkeypatch.undo()
    assert not list((stopped / "out").glob("*.safetensors"))
    continued = train(config)
    assert whole.read_bytes() == continued.read_bytes()
    losses = [[line["loss"] for line in read_log(folder / "out") if "loss" in line] for folder in (through, stopped)]
    assert losses[0] == losses[1]


def stop_after_checkpoint(log: Log, step: int, values: dict[str, float]) -> None:
    log.note(step, values)
    if step == 4:
        raise KeyboardInterrupt


def read_log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_training_can_start_from_weights(tmp_path: Path) -> None:
    first = train(write_config(tmp_path))
    config = write_config(tmp_path, out='"again"', steps=f'4\nstart = "{first}"')
    before, after = read_weights(first)[1].state_dict(), start_student(read_settings(config)).network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert train(config).exists()
    with pytest.raises(InputError, match="the config asks for"):
        train(write_config(tmp_path, out='"third"', embedding="9", steps=f'4\nstart = "{first}"'))


def test_weights_fall_under_the_licence_of_those_started_from_unless_they_name_their_own(tmp_path: Path) -> None:
    settings = read_settings(write_config(tmp_path))
    named = dataclasses.replace(settings, out=tmp_path / "named", notes={"licence": "research only"})
    first = teach(start_student(named), named)
    for notes, licence in (({}, "research only"), ({"licence": "CC0"}, "CC0")):
        again = dataclasses.replace(settings, out=tmp_path / licence, start=str(first), notes=notes)
        weights = teach(start_student(again), again)
        assert find_licence(load_model(ModelSpec(str(weights), "cpu"))) == licence
    other = dataclasses.replace(settings, out=tmp_path / "other", notes={"licence": "CC0"}, seed=5)
    kept = str(teach(start_student(other), other))
    both = dataclasses.replace(settings, out=tmp_path / "both", start=str(first), kept=kept, start_share=0.5)
    weights = teach(start_student(both), both)
    assert find_licence(load_model(ModelSpec(str(weights), "cpu"))) == "research only and CC0"


def test_a_network_that_is_started_from_brings_its_sizes(tmp_path: Path) -> None:
    settings = read_settings(write_config(tmp_path))
    first = teach(start_student(settings), settings)
    again = dataclasses.replace(settings, start=str(first), sizes=None)
    assert start_student(again).stride == start_student(settings).stride
    with pytest.raises(InputError, match="use multiples of 4"):
        start_student(dataclasses.replace(again, crop=34))


def test_a_network_that_is_started_from_may_be_parted_by_scales(tmp_path: Path) -> None:
    settings = read_settings(write_config(tmp_path))
    assert settings.sizes is not None
    first = teach(start_student(settings), settings)
    wanted = dataclasses.replace(settings.sizes, scales=(0.25, 1.5))
    parting = dataclasses.replace(settings, start=str(first), sizes=wanted, out=tmp_path / "parted", start_share=0.5)
    header, network = read_weights(teach(start_student(parting), parting))
    assert header.sizes == wanted
    statistics = {name: value for name, value in network.state_dict().items() if name.endswith("running_mean")}
    before = read_weights(first)[1].state_dict()
    asked = {wanted.find_scale(target.mpp) for target in header.targets}
    assert len(asked) == 1  # so that one set has seen nothing
    for name, value in statistics.items():
        scale = int(name.split(".")[-2])
        unchanged = torch.allclose(value, before[name.removesuffix(f"{scale}.running_mean") + "running_mean"])
        assert unchanged == (scale not in asked)
    again = dataclasses.replace(parting, start=str(parting.out / f"{settings.name}.safetensors"), start_share=0.0)
    for sizes in (None, wanted, settings.sizes):
        assert start_student(dataclasses.replace(again, sizes=sizes)).network.sizes == wanted
    with pytest.raises(InputError, match="leave sizes out, or but for scales"):
        start_student(dataclasses.replace(again, sizes=dataclasses.replace(wanted, scales=(0.25, 2.0))))


def test_weights_may_keep_a_share_of_those_started_from(tmp_path: Path) -> None:
    first = train(write_config(tmp_path)).rename(tmp_path / "first.safetensors")
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    settings = dataclasses.replace(read_settings(write_config(tmp_path)), start=str(first))
    paths = []
    for share in (0.0, 0.25):
        out = tmp_path / f"share {share}"
        chosen = dataclasses.replace(settings, out=out, start_share=share)
        paths.append(teach(start_student(chosen), chosen))
    before, learned, blended = (read_weights(path)[1].state_dict() for path in (first, *paths))
    moved = [name for name in learned if not torch.equal(before[name], learned[name])]
    assert moved
    for name in (name for name in moved if learned[name].is_floating_point()):
        torch.testing.assert_close(blended[name], learned[name].lerp(before[name], 0.25), rtol=2e-3, atol=2e-3)


def test_the_share_may_be_of_other_weights_than_those_started_from(tmp_path: Path) -> None:
    settings = read_settings(write_config(tmp_path))
    first = teach(start_student(settings), settings)
    second = dataclasses.replace(settings, start=str(first), out=tmp_path / "second", seed=9)
    learned = teach(start_student(second), second)
    other = dataclasses.replace(second, out=tmp_path / "other", seed=11)
    alone = read_weights(teach(start_student(other), other))[1].state_dict()
    keeping = dataclasses.replace(other, start_share=0.75, kept=str(learned))
    found = read_weights(teach(start_student(keeping), keeping))[1].state_dict()
    kept = read_weights(learned)[1].state_dict()
    for name in (name for name in kept if kept[name].is_floating_point()):
        torch.testing.assert_close(found[name], alone[name].lerp(kept[name], 0.75), rtol=2e-3, atol=2e-3)
    sizes = dataclasses.replace(settings.sizes or Sizes(), embedding=4)
    wrong = dataclasses.replace(keeping, out=tmp_path / "wrong", start="", sizes=sizes, kept=str(learned))
    with pytest.raises(InputError, match=r"sizes .*the config asks for|weights of another network"):
        teach(start_student(wrong), wrong)
    missing = dataclasses.replace(keeping, out=tmp_path / "wrong", kept="nowhere.safetensors")
    with pytest.raises(InputError, match=r"kept nowhere\.safetensors: no such file"):
        teach(start_student(missing), missing)
    assert not (tmp_path / "wrong").exists()


def test_a_second_training_keeps_out_of_the_folder(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    out = read_settings(config).out
    with hold_lock(out), pytest.raises(RunError, match="writing here"):
        train(config)
    assert not [*out.glob("*.jsonl"), *out.glob("*.pt")]


def test_a_loss_that_is_no_number_is_refused(tmp_path: Path) -> None:
    settings = read_settings(write_config(tmp_path))
    ontology = choose_targets(settings)
    student = start_student(settings)
    with torch.no_grad():
        next(student.network.parameters()).fill_(math.nan)
    batch = BatchSource(load_lesson(settings, TILES).train, ontology, settings, student.tokenize).draw(0)
    session = start_session(student, ontology, settings)
    with pytest.raises(ModelError, match="training loss is nan"):
        take_step(session.network, session.optimizer, batch, session.columns)


@pytest.mark.parametrize("unit", [True, False])
def test_convolutions_are_in_bfloat16_where_the_processor_multiplies_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": unit})
    settings = read_settings(write_config(tmp_path))
    student, ontology = start_student(settings), choose_targets(settings)
    batch = BatchSource(load_lesson(settings, TILES).train, ontology, settings, student.tokenize).draw(0)
    with torch.no_grad():
        network = student.network.eval()
        exact = network(batch.images, batch.tokens, batch.mpp).masked_fill(batch.hidden, UNASKED)
        found = predict_logits(network, batch)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, atol=0.2, rtol=0.1)
    assert torch.allclose(found, exact, atol=1e-5) is not unit


def test_a_batch_follows_from_its_step(tmp_path: Path) -> None:
    settings = read_settings(write_config(tmp_path))
    source = BatchSource(
        load_lesson(settings, TILES).train, choose_targets(settings), settings, start_student(settings).tokenize
    )
    first, again, next_one = source.draw(5), source.draw(5), source.draw(6)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.tokens, again.tokens)
    assert not torch.equal(first.images, next_one.images)
    assert first.truth.shape == (2, 9, 32, 32)
    assert torch.equal(first.known, torch.ones(2, 9))
    # The gland and its grade are outlined alike, the other grades and the absent prompts nowhere.
    assert torch.equal(first.truth[:, 0], first.truth[:, 1:].sum(1))
    assert first.truth[:, 7:].sum() == 0


def test_plain_crops_keep_size_stain_and_light(tmp_path: Path) -> None:
    settings = read_settings(write_config(tmp_path))
    pictures = load_lesson(settings, TILES).train
    ontology, tokenize = choose_targets(settings), start_student(settings).tokenize
    sure = dataclasses.replace(settings, batch=32, glass_share=0.0, plain_share=1.0)
    plain, changed = (
        BatchSource(pictures, ontology, chosen, tokenize).draw(1).images
        for chosen in (sure, dataclasses.replace(sure, plain_share=0.5))
    )
    shown = torch.from_numpy(np.concatenate([sample.read().pixels.reshape(-1, 3) for sample in pictures])) / 255
    assert all(keep_colors(image, shown) for image in plain)
    assert 0 < sum(keep_colors(image, shown) for image in changed) < len(changed)


def test_fibres_are_drawn_where_nothing_is_said_of_objects_that_are_told_apart(tmp_path: Path) -> None:
    settings = read_settings(write_config(tmp_path))
    ontology, tokenize = choose_targets(settings), start_student(settings).tokenize
    pictures = load_lesson(settings, TILES).train
    told = [dataclasses.replace(one.read(), absent=("nuclei",)) for one in pictures]
    nuclei = load_ontology(settings.ontology).find("nuclei")
    wider = Ontology((*ontology.targets, nuclei))
    chosen = dataclasses.replace(settings, batch=16, glass_share=0.0, fibre_share=1.0)
    for shown, covered in ((pictures, True), (told, False)):
        batch = BatchSource(shown, wider, chosen, tokenize).draw(1)
        without = BatchSource(shown, wider, dataclasses.replace(chosen, fibre_share=0.0), tokenize).draw(1)
        assert (batch.truth.sum() < without.truth.sum()) == covered


def keep_colors(image: torch.Tensor, shown: torch.Tensor) -> bool:
    """Whether an image [3, H, W] has no darker and no lighter pixels in any channel than those shown [N, 3]."""
    pixels, least, most = image.flatten(1).T, shown.amin(0) - 1e-4, shown.amax(0) + 1e-4
    return bool(((pixels >= least) & (pixels <= most)).all())


def test_in_a_share_of_the_steps_crops_go_on_as_mirror_images(tmp_path: Path) -> None:
    settings = dataclasses.replace(read_settings(write_config(tmp_path)), mirror_share=0.5)
    student, lesson = start_student(settings), load_lesson(settings, TILES)
    session = start_session(student, lesson.ontology, settings)
    source = BatchSource(lesson.train, lesson.ontology, settings, student.tokenize)
    batches = [source.draw(step) for step in range(12)]
    assert {batch.mirrored for batch in batches} == {True, False}
    for step, batch in enumerate(batches[:4]):
        advance(session, step, batch)
        modes = {m.padding_mode for m in session.network.modules() if isinstance(m, torch.nn.Conv2d) and any(m.padding)}
        assert modes == {"reflect" if batch.mirrored else "zeros"}
    assert {m.padding_mode for m in session.average.modules() if isinstance(m, torch.nn.Conv2d)} == {"zeros"}


def test_targets_that_differ_in_signs_alone_are_refused(tmp_path: Path) -> None:
    settings = read_settings(write_config(tmp_path))
    pairs = (("Ki67+", "Ki67-"), ("a" + " a" * 15 + " b", "a" + " a" * 15 + " c"))
    for words in pairs:
        ontology = Ontology(tuple(Target(word, word, word, (0, 0, 0), 0.5) for word in words))
        with pytest.raises(TargetError, match=f"reads {re.escape(repr(words[0]))} of .* alike; expected words"):
            refuse_alike(list_prompts(ontology, settings), start_student(settings).tokenize)


def test_prompts_vary_in_their_words(tmp_path: Path) -> None:
    target = choose_targets(read_settings(write_config(tmp_path))).targets[0]
    random = np.random.default_rng(0)
    prompts = {word_prompt(target, ("{}", "find {}"), random) for _ in range(200)}
    assert target.prompt in prompts
    assert {"gland", "find crypts"} <= prompts
    assert invent_word(random).isalpha()


def test_prompts_are_told_for_the_sites_that_they_may_name(tmp_path: Path) -> None:
    cells = Target("cells", "cells in [site] pathology", "c", (0, 0, 0), 0.5, sites=("breast", "liver"))
    anywhere = Target("tumour", "tumour in [site] pathology", "t", (0, 0, 0), 0.5)
    random = np.random.default_rng(0)
    prompts = {word_prompt(target, ("{}",), random) for target in (cells, anywhere) for _ in range(50)}
    assert prompts == {"cells", "cells in breast pathology", "cells in liver pathology", "tumour"}
    listed = list_prompts(Ontology((cells, anywhere)), read_settings(write_config(tmp_path)))
    assert {prompt for _, prompt in listed} == prompts | {"find cells", "find tumour"}


def test_the_rate_rises_then_falls() -> None:
    settings = TrainingSettings("a", Path(), (), Path(), steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [schedule_rate(step, settings) for step in range(100)]
    assert rates[:10] == pytest.approx([(n + 1) / 10 for n in range(10)])
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(0.01, abs=0.002)


def test_the_average_moves_towards_the_network() -> None:
    average, network = torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2)
    with torch.no_grad():
        network.weight.fill_(3.0)
        network.running_mean.fill_(1.0)  # type: ignore[union-attr]
    update_average(average, network, 0.75)
    assert average.weight.tolist() == [1.5, 1.5]
    assert average.running_mean.tolist() == [0.25, 0.25]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": "4\nepochs = 3"}, "unknown key 'epochs'"),
        ({"name": "'a'\nname = 'b'"}, "open-1.toml"),
        ({"crop": "33"}, "use multiples of 4"),
        ({"crop": "4"}, "crop 4; expected 8 pixels or more"),
        ({"data": '"$WSIPARSE_NO_SUCH_FOLDER"'}, "environment variable"),
        ({"batch": "2\nsizes2 = 1"}, "unknown key"),
        ({"batch": "2\nstart_share = 0.5"}, "weights to start from"),
        ({"batch": "2\nstart = 'wsiparse-open-1'\nstart_share = 1.0"}, "0 to below 1"),
    ],
)
def test_a_wrong_config_is_refused(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_settings(write_config(tmp_path, **changes))


def test_a_config_without_a_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short.toml").write_text("name = 'a'")
    with pytest.raises(InputError, match=r"short\.toml: no ontology, targets, out; expected values for name, "):
        read_settings(tmp_path / "short.toml")
    with pytest.raises(InputError, match=r"none\.toml"):
        read_settings(tmp_path / "none.toml")


def test_a_target_the_ontology_lacks_is_refused(tmp_path: Path) -> None:
    settings = read_settings(write_config(tmp_path))
    with pytest.raises(TargetError, match="bone marrow oedema"):
        choose_targets(dataclasses.replace(settings, targets=("bone marrow oedema",)))


@pytest.mark.parametrize(
    ("name", "targets", "licence"),
    [
        ("open-1-start", 8, "CC BY 4.0"),
        ("open-1", 8, "CC BY 4.0"),
        ("open-1-nuclei", 8, "CC BY 4.0"),
        ("open-1-gpu", 8, "CC BY 4.0"),
        ("glas", 1, "no commercial use"),
    ],
)
def test_the_shipped_configs_are_whole(monkeypatch: pytest.MonkeyPatch, name: str, targets: int, licence: str) -> None:
    monkeypatch.setenv("WSIPARSE_SHARED_DATA", str(ROOT))
    settings = read_settings(ROOT / f"configs/train/{name}.toml")
    assert len(choose_targets(settings).targets) == targets
    assert settings.examples is not None
    assert settings.examples.exists()
    assert licence in settings.notes["data"]


SITTINGS = ("open-1-start", "open-1", "open-1-finish", "open-1-nuclei")


@pytest.mark.parametrize(("earlier", "later"), [*itertools.pairwise(SITTINGS)])
def test_a_sitting_starts_from_what_the_one_before_writes(
    monkeypatch: pytest.MonkeyPatch, earlier: str, later: str
) -> None:
    monkeypatch.setenv("WSIPARSE_SHARED_DATA", str(ROOT))
    first, second = (read_settings(ROOT / f"configs/train/{name}.toml") for name in (earlier, later))
    assert Path(second.start).resolve() == (first.out / f"{first.name}.safetensors").resolve()
    assert (first.sizes, first.targets) == (second.sizes, second.targets)


def test_a_path_that_is_said_anew_need_not_be_one_in_the_config_that_is_extended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WSIPARSE_SHARED_DATA", raising=False)
    (tmp_path / "own.toml").write_text(f'extends = "{ROOT / "configs/train/open-1.toml"}"\ndata = "images"\n')
    assert read_settings(tmp_path / "own.toml").data == tmp_path / "images"


def test_a_config_has_what_the_one_it_extends_says(tmp_path: Path) -> None:
    write_config(tmp_path, steps="7", batch="3")
    (tmp_path / "longer.toml").write_text("extends = 'tiny.toml'\nsteps = 9")
    (tmp_path / "longest.toml").write_text("extends = 'longer.toml'\nbatch = 5")
    settings = read_settings(tmp_path / "longest.toml")
    assert (settings.steps, settings.batch) == (9, 5)
    assert settings == dataclasses.replace(read_settings(tmp_path / "tiny.toml"), steps=9, batch=5)


@pytest.mark.parametrize(
    ("base", "words"),
    [("none.toml", r"none\.toml"), ("round.toml", "extends itself"), ("a/../round.toml", "extends itself")],
)
def test_a_config_that_extends_nothing_is_refused(tmp_path: Path, base: str, words: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "round.toml").write_text(f"extends = '{base}'")
    with pytest.raises(InputError, match=words):
        read_settings(tmp_path / "round.toml")


def test_the_example_of_fine_tuning_starts_from_the_shipped_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_DATA", str(ROOT / "tests/data/ebhi"))
    settings = read_settings(ROOT / "configs/train/fine-tune.toml")
    shipped = read_weights(list_models()["wsiparse-open-1"])[1].state_dict()
    started = start_student(settings).network.state_dict()
    assert all(torch.equal(tensor, shipped[name]) for name, tensor in started.items())
    assert len(choose_targets(settings).targets) == 2
