"""What changes between a command and the next into the same folder: refused in one line, or done, never mixed."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import MakeSlide
from tests.outputs import hash_results
from tests.runs.conftest import SIZE, TONE, run
from wsiparse.cli import main
from wsiparse.runs.run import State, open_run

CORE = 64
MANIFEST = "id,slide,mpp,targets,site\n{},{},{},{},\n"


@pytest.fixture
def slide(slides: Path) -> Path:
    return slides / "s0.svs"


@pytest.fixture
def plain(make_slide: MakeSlide) -> Path:
    """A slide that states no µm per pixel."""
    return make_slide(*SIZE, None, name="plain.svs")


@pytest.fixture
def begun(slide: Path, tmp_path: Path) -> Path:
    """A run that was stopped after its first block."""
    out = tmp_path / "begun"
    assert run(slide, "-o", out, *TONE, "--block-tiles", "1") == 0
    shards = sorted(path for path in out.rglob("0/c/0/*/*") if path.name.isdecimal())
    for shard in shards[1:]:
        shard.unlink()
    (out / "s0/summary.json").unlink()
    return out


def find_shards(out: Path) -> dict[Path, int]:
    """The blocks that are stored, and when they were."""
    shards = (path for path in out.rglob("0/c/0/*/*") if path.name.isdecimal())
    return {path: path.stat().st_mtime_ns for path in shards}


def test_a_slide_goes_on_in_blocks_of_the_size_it_was_begun_in(slide: Path, begun: Path) -> None:
    kept = find_shards(begun)
    assert len(kept) == 1
    assert run(slide, "-o", begun, *TONE) == 0
    assert kept.items() < find_shards(begun).items()
    whole = begun.with_name("whole")
    assert run(slide, "-o", whole, *TONE, "--block-tiles", "1") == 0
    assert hash_results(begun) == hash_results(whole)


def test_fewer_tiles_a_block_are_taken_for_a_slide_that_is_tried_again(slide: Path, begun: Path) -> None:
    assert run(slide, "-o", begun, *TONE, "--retry-failed") == 0
    whole = begun.with_name("whole")
    assert run(slide, "-o", whole, *TONE) == 0
    assert hash_results(begun) == hash_results(whole)


def test_what_another_plan_began_is_refused_and_goes_on_under_the_old_one(
    slide: Path, begun: Path, tmp_path: Path
) -> None:
    kept = find_shards(begun)
    (tmp_path / "m.csv").write_text(MANIFEST.format("s0", slide, "0.25", ""))
    assert run(tmp_path / "m.csv", "-o", begun, *TONE) == 2
    assert open_run(begun).failure("s0")["reason"] == "run_mismatch"
    assert "another mpp" in open_run(begun).failure("s0")["message"]
    assert find_shards(begun) == kept
    assert run(slide, "-o", begun, *TONE, "--block-tiles", "1", "--retry-failed") == 0
    assert kept.items() < find_shards(begun).items()


def test_a_slide_begun_for_other_targets_of_one_pass_is_begun_anew(slide: Path, begun: Path, tmp_path: Path) -> None:
    manifest, whole = tmp_path / "m.csv", tmp_path / "whole"
    command = [manifest, *TONE, "--block-tiles", "1", "-o"]
    manifest.write_text(MANIFEST.format("s0", slide, "", "dark;red"))
    assert run(*command, begun) == 2
    assert open_run(begun).failure("s0")["reason"] == "run_mismatch"
    assert "other targets" in open_run(begun).failure("s0")["message"]
    assert run(*command, begun, "--retry-failed") == 0
    assert run(*command, whole) == 0
    assert hash_results(begun) == hash_results(whole)


def test_what_a_slide_wrote_already_is_no_longer_asked_of_the_disk(
    slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [slide, *TONE, "--block-tiles", "1", "--targets", "dark", "-o"]
    assert run(*command, tmp_path / "out") == 0
    (tmp_path / "out/s0/summary.json").unlink()
    width, height = (-(-length // CORE) * CORE for length in SIZE)
    bound = width * height * 4 // 3  # a map and its pyramid
    monkeypatch.setattr("wsiparse.runs.planning.free_disk", lambda path: bound - 1)
    assert run(*command, tmp_path / "out") == 0
    assert run(*command, tmp_path / "other") == 2


@pytest.mark.parametrize("changed", [("0.25", "dark"), ("0.5", "red"), ("", "dark")])
def test_a_slide_that_is_done_keeps_its_scale_and_targets(
    slide: Path, tmp_path: Path, changed: tuple[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    out, manifest = tmp_path / "out", tmp_path / "m.csv"
    manifest.write_text(MANIFEST.format("a", slide, "0.5", "dark"))
    assert run(manifest, "-o", out, *TONE) == 0
    before = (out / "slides.csv").read_bytes()
    manifest.write_text(MANIFEST.format("a", slide, *changed))
    assert run(manifest, "-o", out, *TONE) == 2
    assert f"slide a is done as mpp 0.5, dark, site of the run and mpp {changed[0] or 'of its file'}" in (
        capfd.readouterr().err
    )
    assert (out / "slides.csv").read_bytes() == before


def test_what_a_manifest_said_of_a_slide_stands_where_its_path_alone_names_it(slide: Path, tmp_path: Path) -> None:
    out, manifest = tmp_path / "out", tmp_path / "m.csv"
    manifest.write_text(f"slide,mpp,targets,reference,patient\n{slide},0.25,dark,s0.geojson,7\n")
    assert run(manifest, "-o", out, *TONE) == 0
    before, results = (out / "slides.csv").read_bytes(), hash_results(out)
    shutil.rmtree(out / "s0")
    assert run(slide, "-o", out, *TONE) == 0
    assert (out / "slides.csv").read_bytes() == before
    assert hash_results(out) == results
    manifest.write_text(f"slide,patient\n{slide},7\n")
    assert run(manifest, "-o", out, *TONE) == 2  # a manifest that no longer says it asks for something else


def test_a_slide_that_is_done_keeps_the_mpp_of_the_command(
    slide: Path, tmp_path: Path, plain: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [slide, plain, "-o", tmp_path / "out", *TONE]
    assert run(*command) == 3
    assert run(*command, "--mpp", "0.5", "--retry-failed") == 0
    assert run(*command) == 0
    assert run(*command, "--mpp", "0.25") == 2
    assert "slide plain is done as mpp 0.5" in capfd.readouterr().err


def test_a_failure_that_was_not_tried_again_says_so(
    tmp_path: Path, plain: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [plain, "-o", tmp_path / "out", *TONE]
    assert run(*command) == 2
    assert "failed plain: " in (first := capfd.readouterr().out)
    assert "--retry-failed" not in first
    assert run(*command, "--mpp", "0.5") == 2
    again = capfd.readouterr().out
    assert "failed earlier plain: " in again
    assert "not tried again: 1 that failed earlier; --retry-failed tries them" in again
    assert run(*command, "--mpp", "0.5", "--retry-failed") == 0


def test_a_slide_that_joins_shifts_no_shard(slides: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def list_done() -> set[str]:
        return {row.id for row in open_run(out).rows if open_run(out).state(row.id) is State.DONE}

    assert run(slides, "-o", out, *TONE, "--shard", "0/2") == 0
    assert list_done() == {"s0"}
    shutil.copy(slides / "s0.svs", slides / "a.svs")
    assert run(slides, "-o", out, *TONE, "--shard", "1/2") == 0
    assert list_done() == {"s0", "s1"}
    assert run(slides, "-o", out, *TONE, "--shard", "0/2") == 0
    assert list_done() == {"s0", "s1", "a"}


def test_a_shard_does_not_overwrite(slide: Path, begun: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(slide, "-o", begun, *TONE, "--shard", "0/1", "--overwrite") == 2
    assert "other shards" in capfd.readouterr().err
    assert len(find_shards(begun)) == 1


@pytest.fixture
def done(slide: Path, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A run that is done, and its bytes."""
    assert run(slide, "-o", tmp_path / "out", *TONE) == 0
    return tmp_path / "out", hash_results(tmp_path / "out")


def test_a_summary_that_the_power_cut_off_is_written_again(slide: Path, done: tuple[Path, dict[str, str]]) -> None:
    out, before = done
    (out / "s0/summary.json").write_bytes(b"")
    assert main(["status", str(out)]) == 0
    assert open_run(out).state("s0") is State.PENDING
    assert run(slide, "-o", out, *TONE) == 0
    assert hash_results(out) == before


def test_a_start_anew_that_is_stopped_leaves_no_half_of_a_slide(
    slide: Path, done: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, before = done

    def stop(folder: Path, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", stop)
        assert run(slide, "-o", out, *TONE, "--overwrite") == 130
    assert open_run(out).state("s0") is State.PENDING
    assert run(slide, "-o", out, *TONE) == 0
    assert hash_results(out) == before


def test_a_run_that_cannot_be_removed_stays_whole(
    slide: Path,
    done: tuple[Path, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out, before = done

    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:  # as of a colleague's slides in a folder that keeps each one's files apart
        patch.setattr(Path, "rename", refuse)
        assert run(slide, "-o", out, *TONE, "--overwrite") == 2
    assert "cannot be removed: Permission denied" in capfd.readouterr().err
    assert open_run(out).state("s0") is State.DONE
    assert hash_results(out) == before


def test_a_failure_that_the_power_cut_off_is_told_and_tried_again(
    slide: Path, done: tuple[Path, dict[str, str]], capfd: pytest.CaptureFixture[str]
) -> None:
    out, before = done
    (out / "s0/summary.json").unlink()
    (out / "s0/failed.json").write_bytes(b"")
    assert main(["status", str(out)]) == 3
    assert "failed s0 (output_damaged): why is not known: failed.json is damaged" in capfd.readouterr().out
    assert run(slide, "-o", out, *TONE, "--retry-failed") == 0
    assert hash_results(out) == before


def test_a_failure_in_a_folder_that_may_not_be_written_is_told(
    slide: Path,
    done: tuple[Path, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out, _ = done
    (out / "s0/failed.json").write_bytes(b"")
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.parent == out / "s0":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert run(slide, "-o", out, *TONE, "--retry-failed") == 2
    assert "failed.json: cannot be removed: Permission denied" in capfd.readouterr().err


def test_a_record_that_the_power_cut_off_is_refused_in_one_line_and_started_anew(
    slide: Path, done: tuple[Path, dict[str, str]], capfd: pytest.CaptureFixture[str]
) -> None:
    out, before = done
    (out / "run.json").write_bytes(b"")
    capfd.readouterr()
    assert run(slide, "-o", out, *TONE) == 2
    error = capfd.readouterr().err
    assert "run.json: damaged" in error
    assert "Traceback" not in error
    assert run(slide, "-o", out, *TONE, "--overwrite") == 0
    assert hash_results(out) == before


@pytest.mark.parametrize(
    ("file", "command"),
    [("run.json", ("picture", "p.png")), ("s0/parse.zarr/0.5um/zarr.json", ("export", "--format", "ome-tiff"))],
)
def test_targets_of_another_version_are_refused_in_one_line(
    done: tuple[Path, dict[str, str]], capfd: pytest.CaptureFixture[str], file: str, command: tuple[str, ...]
) -> None:
    record = done[0] / file
    record.write_text(record.read_text().replace('"group":', '"kind": "new", "group":'))
    capfd.readouterr()
    assert main([command[0], str(done[0]), *command[1:]]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "unknown key 'kind'" in line


def test_a_slide_is_done_when_all_of_it_is_on_the_disk(
    slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, kept = tmp_path / "out", set[str]()

    def keep(handle: int) -> None:
        assert not (out / "s0/summary.json").exists()
        kept.add(os.readlink(f"/proc/self/fd/{handle}"))

    monkeypatch.setattr(os, "fsync", keep)
    assert run(slide, "-o", out, *TONE) == 0
    assert {path for path in map(str, (out / "s0").rglob("*")) if path not in kept} == {str(out / "s0/summary.json")}


def test_a_disk_that_keeps_nothing_leaves_no_slide_done(
    slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def lose(handle: int) -> None:
        if "/s0" in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("wsiparse.runs.retry.PAUSES_SECONDS", ())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lose)
        assert run(slide, "-o", tmp_path / "out", *TONE) == 2
    assert "not kept: Input/output error" in capfd.readouterr().out
    assert run(slide, "-o", tmp_path / "out", *TONE, "--retry-failed") == 0


def test_the_list_of_slides_is_on_the_disk_before_it_stands_in_its_place(
    slide: Path, done: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = done
    kept: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: kept.append(Path(f"/proc/self/fd/{handle}").read_text()))
    assert run(slide, "-o", out, *TONE) == 0
    assert kept == [(out / "slides.csv").read_text()]


def test_a_disk_that_does_not_keep_the_list_of_slides_is_told(
    slide: Path, done: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def lose(handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", lose)
    assert run(slide, "-o", done[0], *TONE) == 2
    assert "not kept: Input/output error; free the disk" in capfd.readouterr().err


@pytest.mark.parametrize("left", [b"", None], ids=["empty", "gone"])
def test_a_list_of_slides_that_is_lost_is_told(
    slide: Path, done: tuple[Path, dict[str, str]], capfd: pytest.CaptureFixture[str], left: bytes | None
) -> None:
    out, _ = done
    (out / "slides.csv").unlink() if left is None else (out / "slides.csv").write_bytes(left)
    assert run(slide, "-o", out, *TONE) == 2
    assert "bring back a copy of what the run wrote there, or choose another folder" in capfd.readouterr().err


def ids_and_paths(out: Path) -> dict[str, str]:
    return {row.id: row.slide for row in open_run(out).rows}


def test_a_slide_that_joins_a_run_takes_no_other_slides_id(slides: Path, tmp_path: Path) -> None:
    out, folder = tmp_path / "out", tmp_path / "names"
    folder.mkdir()
    first, second, newcomer = (folder / f"{name}.svs" for name in ("上海", "北京", "一"))
    for path in (first, second):
        shutil.copy(slides / "s0.svs", path)
    assert run(folder, "-o", out, *TONE) == 0
    before = ids_and_paths(out)
    shutil.copy(slides / "s1.svs", newcomer)
    assert run(folder, "-o", out, *TONE) == 0
    after = ids_and_paths(out)
    assert before.items() < after.items()
    assert after["slide"] == str(first)
    assert set(after.values()) == {str(first), str(second), str(newcomer)}
    assert {open_run(out).state(name) for name in after} == {State.DONE}


def test_folders_named_in_another_order_are_the_same_slides(slides: Path, tmp_path: Path) -> None:
    out, folders = tmp_path / "out", [tmp_path / "a", tmp_path / "b"]
    for folder, name in zip(folders, ("s0", "s1"), strict=True):
        folder.mkdir()
        shutil.copy(slides / f"{name}.svs", folder / "x.svs")
    assert run(folders[1], "-o", out, *TONE) == 0
    assert run(*folders, "-o", out, *TONE) == 0
    found = ids_and_paths(out)
    assert found.pop("x") == str(folders[1] / "x.svs")
    assert list(found.values()) == [str(folders[0] / "x.svs")]
    (tmp_path / "m.csv").write_text(MANIFEST.format("y", folders[1] / "x.svs", "", ""))
    other = tmp_path / "other"
    assert run(tmp_path / "m.csv", "-o", other, *TONE) == 0
    assert run(folders[1], tmp_path / "m.csv", "-o", other, *TONE) == 0
    assert list(ids_and_paths(other)) == ["y"]


@pytest.mark.parametrize("named", [True, False])
def test_a_project_that_was_moved_goes_on(
    slides: Path, tmp_path: Path, named: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    source = "m.csv" if named else "s"
    project, moved = tmp_path / "one", tmp_path / "two"
    shutil.copytree(slides, project / "s")
    (project / "m.csv").write_text("id,slide\ns0,s/s0.svs\ns1,s/s1.svs\n")
    assert run(project / source, "-o", project / "out", *TONE) == 0
    (project / "out/s1/summary.json").unlink()
    project.rename(moved)
    out = moved / "out"
    assert run(moved / source, "-o", out, *TONE) == 0
    assert ids_and_paths(out) == {name: str(moved / f"s/{name}.svs") for name in ("s0", "s1")}
    assert main(["picture", str(out), str(tmp_path / "s0.png"), "--slide", "s0"]) == 0
    (moved / "s/s0.svs").rename(moved / "old.svs")
    other = moved / "s/s1.svs"
    (moved / "m.csv").write_text(f"id,slide\ns0,{other}\n")
    assert run(moved / "m.csv", "-o", out, *TONE) == 2
    assert f"id 's0' is {moved / 's/s0.svs'} in this run and {other} now, which is not the same file" in (
        capfd.readouterr().err
    )
