"""All that a training run learns from and is checked on, from the tables, folders and slides that its config names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from wsiparse.annotations.mapping import load_mapping
from wsiparse.errors import InputError, ReferenceFileError, SlideError, TargetError
from wsiparse.evaluation.names import IGNORED, TargetNames
from wsiparse.evaluation.references import read_reference
from wsiparse.models.tile_sizes import TileSizes
from wsiparse.ontology import Ontology, Target, load_ontology
from wsiparse.runs.manifest import ManifestRow, read_manifest
from wsiparse.runs.references import file_of
from wsiparse.slides.open import describe
from wsiparse.training.apart import add_apart, set_apart
from wsiparse.training.dataset import Picture, Sample
from wsiparse.training.examples import Example, check_part, group_images, read_examples
from wsiparse.training.folders import Splitting, list_examples, read_wordings
from wsiparse.training.scaling import scale_picture
from wsiparse.training.screening import (
    Screening,
    digest_file,
    load_screened,
    refuse_copies,
    refuse_shared_cases,
    refuse_untaught,
)
from wsiparse.training.settings import TrainingSettings
from wsiparse.training.slides import LabelledSlide, SlideTile, list_tiles

T = TypeVar("T")
PROBES = 3
"""Tiles of a slide that are read before it is learned from; one that can be decoded suffices."""


@dataclass(frozen=True)
class Lesson:
    """What is learned, and from what."""

    ontology: Ontology
    """The targets, with the wordings that the data bring along, and the objects that are learned apart."""
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    """Kept apart, spread evenly over the data, for the checks."""
    screening: Screening
    kept_apart: tuple[ManifestRow, ...] = ()
    """All slides kept apart, as a manifest has them."""


@dataclass(frozen=True)
class _PlacedSlide:
    row: ManifestRow
    source: LabelledSlide
    case: str
    part: str


@dataclass(frozen=True)
class _Data:
    images: list[tuple[Example, ...]]
    slides: list[_PlacedSlide]

    def part(self, part: str) -> _Data:
        images = [group for group in self.images if group[0].part == part]
        return _Data(images, [placed for placed in self.slides if placed.part == part])

    def describe_kept(self) -> str:
        return f"{len(self.images)} images and {len(self.slides)} slides kept apart"

    def list_cases(self) -> list[tuple[str, str]]:
        images = [(group[0].case, group[0].part) for group in self.images]
        return images + [(placed.case, placed.part) for placed in self.slides]

    def list_prints(self) -> list[tuple[str, str, str]]:
        """Digest, name and part of what is learned from or kept apart."""
        files = [(group[0].image, group[0].part) for group in self.images if group[0].part != "excluded"]
        slides = [(placed.source.slide, placed.part) for placed in self.slides if placed.part != "excluded"]
        prints = [(digest_file(path), path.name, part) for path, part in files]
        return prints + [(slide.fingerprint or slide.path, slide.id, part) for slide, part in slides]


@dataclass(frozen=True)
class _Loading:
    """How data become samples."""

    tiles: TileSizes
    ontology: Ontology
    mpps: Mapping[str, float]
    apart: tuple[str, ...]
    """Names of the targets whose objects are learned apart."""
    screening: Screening

    def load_all(self, data: _Data) -> tuple[Sample, ...]:
        return (*self._load_pictures(data.images), *self._cut_slides(data.slides))

    def load_few(self, data: _Data, count: int) -> tuple[Sample, ...]:
        images: list[Sample] = [*self._load_pictures(thin_out(data.images, count))]
        return tuple(thin_out([*images, *thin_out(self._cut_slides(data.slides), count)], count))

    def _load_pictures(self, images: Sequence[tuple[Example, ...]]) -> list[Picture]:
        loaded = [set_apart(picture, self.apart) for picture in load_screened(images, self.screening)]
        return [scaled for picture in loaded for scaled in self._scale_picture(picture)]

    def _scale_picture(self, picture: Picture) -> list[Picture]:
        """The picture at its working scales; none where it cannot be brought to them, which is remembered."""
        try:
            return scale_picture(picture, self.ontology, self.mpps)
        except InputError as error:
            self.screening.refuse(InputError(f"{picture.name}: {error}"))
            return []

    def _cut_slides(self, slides: Sequence[_PlacedSlide]) -> list[SlideTile]:
        cut: list[SlideTile] = []
        for placed in slides:
            found = list(list_tiles(placed.source, self.tiles, self.apart))
            fault = "" if found else "slide without an outline of a target"
            if found and not any(tile.is_decodable for tile in thin_out(found, PROBES)):
                fault = "slide whose pixels cannot be decoded"
            if fault:
                self.screening.skip(fault, placed.source.slide.id)
            else:
                cut += found
        return cut


def choose_targets(settings: TrainingSettings) -> Ontology:
    """The targets to learn, in the order the config names them; TargetError for one that is unknown or named twice."""
    ontology = load_ontology(settings.ontology)
    found: dict[str, Target] = {}
    for name in settings.targets:
        target = ontology.find(name)
        if target.name in found:
            raise TargetError(f"targets name {target.name!r} twice, as {name!r} too; expected each once; take one out")
        found[target.name] = target
    return Ontology(tuple(found.values()))


def load_lesson(settings: TrainingSettings, tiles: TileSizes) -> Lesson:
    """Everything a config names, screened; slides are cut into the tiles that the network takes.

    Raises InputError where data cannot be read, a case or an image stands in both parts, or a target has no example.
    """
    screening, names = Screening(), read_names(settings)
    images = group_images(_list_examples(settings, names, screening))
    data = _Data(images, list(_list_slides(settings, names, screening)))
    screening.close()
    refuse_shared_cases(data.list_cases())
    refuse_copies(data.list_prints())
    ontology = add_apart(_add_wordings(choose_targets(settings), _read_wordings(settings, names)), settings.apart)
    apart = tuple(ontology.find(name).name for name in settings.apart)
    mpps = {ontology.find(name).name: mpp for name, mpp in settings.mpp.items()}
    loading = _Loading(tiles, ontology, mpps, apart, screening)
    train = loading.load_all(data.part("train"))
    test = loading.load_few(data.part("test"), settings.check_pictures)
    screening.close()
    refuse_untaught(ontology, train, [*screening.describe(), data.part("test").describe_kept()])
    return Lesson(ontology, train, test, screening, tuple(placed.row for placed in data.part("test").slides))


def read_names(settings: TrainingSettings) -> TargetNames:
    """The reader of the names in the data: the config's mapping comes first, then the ontology."""
    ontology = load_ontology(settings.ontology)
    evaluated = tuple(target.name for target in choose_targets(settings).targets)
    return TargetNames(ontology, evaluated, load_mapping(settings.mapping, ontology) if settings.mapping else {})


def _list_examples(settings: TrainingSettings, names: TargetNames, screening: Screening) -> list[Example]:
    if settings.examples is None:
        return []
    if settings.examples.is_dir():
        return list_examples(settings.examples, names, _splitting(settings), screening)
    data, find_case = settings.data or settings.examples.parent, _splitting(settings).find_case
    rows = read_examples(settings.examples, data, find_case)
    meanings = names.resolve_all((name for row in rows for name in row.present + row.absent), settings.examples)
    return [row for read in rows for row in _read_row(read, names, meanings, screening)]


def _read_row(row: Example, names: TargetNames, meanings: Mapping[str, str], screening: Screening) -> list[Example]:
    """The row in the ontology's own names and about the targets to learn alone; none where it is about no such."""
    present, absent = (tuple(dict.fromkeys(meanings[name] for name in part)) for part in (row.present, row.absent))
    wanted = tuple(name for name in present if name in names.evaluated)
    hiding = (IGNORED,) if IGNORED in present and not wanted else ()
    chosen = replace(row, present=wanted or hiding, absent=tuple(name for name in absent if name in names.evaluated))
    if (row.present or row.absent) and not (chosen.present or chosen.absent):
        screening.skip("row of other targets", row.image.name)
        return []
    return [chosen]


def _splitting(settings: TrainingSettings) -> Splitting:
    return Splitting(settings.case_pattern, settings.test_share)


def _list_slides(settings: TrainingSettings, names: TargetNames, screening: Screening) -> Iterator[_PlacedSlide]:
    for row, case, part in _place_rows(settings):
        if part == "excluded":
            continue  # be it for a file that cannot be read
        if not row.reference:
            screening.skip("slide without a reference", row.id)
            continue
        try:
            source = _open_source(row, names)
        except (SlideError, ReferenceFileError, TargetError) as error:
            screening.refuse(error)
            continue
        screening.remarks += [f"{row.id}: {remark}" for remark in source.reference.remarks]
        yield _PlacedSlide(row, source, case, part)


def _place_rows(settings: TrainingSettings) -> Iterator[tuple[ManifestRow, str, str]]:
    """The manifest's rows with case and part; a row that names no part goes with the other slides of its case."""
    rows = read_manifest(settings.slides) if settings.slides else []
    splitting = _splitting(settings)
    placed = [(row, _read_cell(row, "case") or splitting.find_case(row.id), _read_cell(row, "part")) for row in rows]
    stated = {case: part for _, case, part in placed if part and part.lower() != "excluded"}
    for row, case, part in placed:
        chosen = part or stated.get(case) or splitting.choose_part(case)
        yield row, case, check_part(chosen, f"slides {settings.slides}: {row.id}")


def _read_cell(row: ManifestRow, column: str) -> str:
    """What a manifest says in a column of training alone, whatever blanks and capitals both are written with."""
    plain = {name.strip().lower(): text for name, text in row.extra.items()}
    return {**plain, **row.extra}.get(column, "").strip()


def _open_source(row: ManifestRow, names: TargetNames) -> LabelledSlide:
    slide = describe(row.slide, id=row.id, mpp=row.mpp)
    targets = [names.ontology.find(name) for name in names.evaluated]
    wanted = _find_outlined(row, names)
    targets = [target for target in targets if not wanted or target.name in wanted]
    finest = min((target.mpp for target in targets), default=slide.mpp)
    return LabelledSlide(slide, read_reference((file_of(row),), slide, names, finest), tuple(targets))


def _find_outlined(row: ManifestRow, names: TargetNames) -> set[str]:
    """Targets that a slide's row says were outlined completely; TargetError that names the slide for an unknown one."""
    try:
        return {names.ontology.find(name).name for name in row.targets}
    except TargetError as error:
        raise TargetError(f"slide {row.id}, column targets: {error}") from error


def thin_out(samples: Sequence[T], count: int) -> list[T]:
    """At most so many of the samples, spread evenly."""
    chosen = np.linspace(0, len(samples) - 1, min(count, len(samples))).round()
    return [samples[int(index)] for index in chosen]


def _read_wordings(settings: TrainingSettings, names: TargetNames) -> Mapping[str, tuple[str, ...]]:
    folder = settings.examples
    return read_wordings(folder, names) if folder and folder.is_dir() else {}


def _add_wordings(ontology: Ontology, wordings: Mapping[str, tuple[str, ...]]) -> Ontology:
    return Ontology(tuple(_reword(target, wordings.get(target.name, ())) for target in ontology.targets))


def _reword(target: Target, wordings: Sequence[str]) -> Target:
    return replace(target, synonyms=tuple(dict.fromkeys((*target.synonyms, *wordings))))
