"""Which slides a command is about: what manifests and folders say, and what each slide is called."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from wsiparse.errors import InputError, SlideError
from wsiparse.runs.identity import KnownSlides
from wsiparse.runs.manifest import list_slides, read_manifest, write_manifest
from wsiparse.runs.run import BEFORE_A_RUN, EXPORTS
from wsiparse.slides.open import describe


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def list_ids(*sources: Path) -> list[str]:
    return [row.id for row in list_slides([str(source) for source in sources])]


@pytest.mark.parametrize("header", ["slide, mpp ,Block No", "Slide,MPP,Block No"])
def test_blanks_and_capitals_lose_no_column(tmp_path: Path, header: str) -> None:
    (tmp_path / "m.csv").write_text(f"{header}\n a.svs , 0.25, 7\n")
    (row,) = read_manifest(tmp_path / "m.csv")
    assert (row.slide, row.mpp, row.extra) == (str(tmp_path / "a.svs"), 0.25, {"Block No": " 7"})


def test_a_column_of_another_spelling_stays_beside_the_known_one(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("slide,mpp,MPP\na.svs,0.25,40x\n")
    write_manifest(tmp_path / "again.csv", read_manifest(tmp_path / "m.csv"))
    (row,) = read_manifest(tmp_path / "again.csv")
    assert (row.mpp, row.extra) == (0.25, {"MPP": "40x"})


def test_a_cell_that_is_no_path_may_have_lines_and_quotation_marks(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('slide,note,,\na.svs,"""one""\ntwo",,\nb.svs,12" long,,\n')
    assert [row.extra["note"] for row in read_manifest(tmp_path / "m.csv")] == ['"one"\ntwo', '12" long']


def test_a_name_with_a_line_break_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the name has a line break"):
        list_ids(touch(tmp_path, "a\nb.svs"))


def test_hidden_files_are_no_slides(tmp_path: Path) -> None:
    assert list_ids(touch(tmp_path, "._s0.svs", "s0.svs")) == ["s0"]


def test_a_slide_keeps_its_id_when_others_join(tmp_path: Path) -> None:
    one, other = touch(tmp_path / "a", "x.svs"), touch(tmp_path / "b", "x.svs")
    assert list_ids(one) == ["x"]
    ids = list_ids(one, other, one)
    assert ids[0] == "x"
    assert len(set(ids)) == len(ids) == 2


@pytest.mark.parametrize("order", [("m.csv", "a"), ("a", "m.csv")])
@pytest.mark.parametrize("header", ["slide,mpp,targets\n", "id,slide,mpp,targets\ncase,"])
def test_what_a_manifest_says_of_a_slide_stands_above_its_folder(
    tmp_path: Path, order: tuple[str, str], header: str
) -> None:
    touch(tmp_path / "a", "x.svs", "y.svs")
    (tmp_path / "m.csv").write_text(f"{header}a/x.svs,0.25,nuclei\n")
    rows = list_slides([str(tmp_path / name) for name in order])
    said = [(row.mpp, row.targets) for row in rows if row.slide.endswith("x.svs")]
    assert said == [(0.25, ("nuclei",))]
    assert len(rows) == 2


def test_manifests_that_want_different_things_of_a_slide_are_refused(tmp_path: Path) -> None:
    for name, mpp in (("m.csv", "0.25"), ("same.csv", "0.25"), ("other.csv", "0.5")):
        (tmp_path / name).write_text(f"slide,mpp\nx.svs,{mpp}\n")
    assert list_ids(tmp_path / "m.csv", tmp_path / "same.csv") == ["x"]
    with pytest.raises(InputError, match=r"x\.svs: two manifests want another mpp"):
        list_ids(tmp_path / "m.csv", tmp_path / "other.csv")


def test_links_that_go_in_a_circle_are_slides_that_fail(tmp_path: Path) -> None:
    folder = touch(tmp_path / "a", "x.svs")
    (folder / "y.svs").symlink_to("y.svs")
    assert list_ids(folder) == ["x", "y"]
    with pytest.raises(SlideError, match=r"y\.svs: cannot be read"):
        describe(folder / "y.svs")


def test_what_may_not_be_looked_at_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = touch(tmp_path / "a", "x.svs")

    def refuse(path: Path, **_: object) -> os.stat_result:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(Path, "stat", refuse)  # what root may not be refused
    for source in (folder, folder / "x.svs"):
        with pytest.raises(InputError, match=r"cannot be looked at \(Permission denied\)"):
            list_slides([str(source)])
        with pytest.raises(SlideError, match="may not be looked at by this user"):
            describe(source)


def test_ids_that_are_made_differ_in_more_than_capitals(tmp_path: Path) -> None:
    one, other = touch(tmp_path / "a", "Case1.svs"), touch(tmp_path / "b", "case1.svs")
    for order in ((one, other), (other, one)):
        assert len({name.casefold() for name in list_ids(*order)}) == 2
    known, joining = (list_slides([str(folder)]) for folder in (one, other))
    (joined,) = KnownSlides(known, lambda name: None, lambda name: False).recognize(joining)
    assert joined.id.startswith("case1-")
    (again,) = KnownSlides([*known, joined], lambda name: None, lambda name: False).recognize(joining)
    assert again.id == joined.id
    (tmp_path / "m.csv").write_text("id,slide\nA1,a/Case1.svs\na1,b/case1.svs\n")
    assert list_ids(tmp_path / "m.csv") == ["A1", "a1"]  # a person's word


def test_a_manifest_of_another_encoding_is_told_how_to_save(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes("slide\nMüller.svs\n".encode("cp1252"))
    with pytest.raises(InputError, match=r"m\.csv: line 2 is not in UTF-8; save it as UTF-8.*CSV UTF-8.*'slide'"):
        read_manifest(tmp_path / "m.csv")


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    folder = touch(tmp_path / os.fsdecode(b"caf\xe9"), "a.svs")
    (folder / "m.csv").write_text("slide\na.svs\n")
    for source in (folder, folder / "m.csv"):
        with pytest.raises(InputError, match=r"caf\\udce9/a.svs': the name is not UTF-8"):
            list_slides([str(source)])


def test_dicom_files_are_one_slide_where_no_other_slide_lies(tmp_path: Path) -> None:
    case = touch(tmp_path / "case", "1.dcm", "2.dcm", "label.png", "._3.svs")
    assert list_ids(case) == ["case"]
    assert list_ids(touch(case, "s.svs")) == ["1", "2", "label", "s"]


def test_dicom_slides_may_be_folders_among_other_slides(tmp_path: Path) -> None:
    touch(tmp_path / "case", "1.dcm", "2.dcm")
    touch(tmp_path / ".trash", "1.dcm")
    touch(tmp_path / "more", "b.svs")
    touch(tmp_path / "a", "Slidedat.ini", "Data0000.dat")
    assert list_ids(touch(tmp_path, "a.mrxs", "z.svs")) == ["a", "case", "z"]


@pytest.mark.parametrize("name", [*BEFORE_A_RUN, EXPORTS])
def test_names_of_the_runs_own_files_are_no_ids(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="name of the run's own files"):
        list_ids(touch(tmp_path, f"{name}.svs"))
    (tmp_path / "m.csv").write_text(f"id,slide\n{name},a.svs\n")
    with pytest.raises(InputError, match="name of the run's own files"):
        list_ids(tmp_path / "m.csv")
