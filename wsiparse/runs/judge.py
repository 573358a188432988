"""The judgement of a slide as a whole: what its tiles say for each target, and which targets are taken to be there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import PixelError
from wsiparse.maps.canvas import read_region
from wsiparse.maps.evidence import Evidence, read_evidence, write_evidence
from wsiparse.maps.recognition import NEVER, quantize_threshold
from wsiparse.maps.selection import MASK, Rule, add_support, select_present
from wsiparse.maps.tile_table import PassEvidence, TileTable, read_tiles, tabulate_tiles, write_tiles
from wsiparse.maps.validity import BetaFit, judge_slide
from wsiparse.ontology import Target, list_groups
from wsiparse.runs.rules import Rules
from wsiparse.runs.work import EVIDENCE, BlockWork, PassWork, SlideWork, name_evidence

TABLE = "tiles.parquet"
MOST_UNREADABLE = 0.5
"""Share of the pixels read that may be missing from a slide that is still taken for one."""


@dataclass(frozen=True)
class Finding:
    """What the tiles of a slide say for one target."""

    p_value: float
    """Of one test over all tiles with a mask; 0 without any."""
    typical: float
    """p-value of the median tile with a mask; 0 without any."""
    refused_tiles: float | None
    """Share of the tiles with a mask that are refused one by one; None without any."""
    refused: bool


@dataclass(frozen=True)
class Verdict:
    """What a run makes of one target on one slide."""

    cut: int
    """Stored value from which a pixel may be the target's; `NEVER` where it is left out."""
    finding: Finding | None
    """None where the target was not tested."""

    @property
    def selected(self) -> bool:
        """Whether it may be in label maps and outlines."""
        return self.cut != NEVER

    def describe(self) -> dict[str, Any]:
        """The same for summary.json."""
        found = self.finding
        tested = (found.p_value, found.refused_tiles, found.refused) if found else (None, None, None)
        return {"selected": self.selected, **dict(zip(("p_value", "refused_tiles", "refused"), tested, strict=True))}


@dataclass(frozen=True)
class Judgement:
    """What a run makes of a slide; small, and it pickles."""

    verdicts: Mapping[str, Verdict]
    """By the target's name."""
    unreadable_pixels: int
    """Source pixels that could not be decoded."""

    def cut_targets(self, targets: Sequence[Target]) -> tuple[int, ...]:
        """The stored value from which a pixel may be each target's."""
        return tuple(self.verdicts[target.name].cut for target in targets)


def keep_evidence(work: BlockWork, evidence: Evidence) -> None:
    """Keep what the tiles of a block say until its slide is judged."""
    slide_folder = work.canvas.slide_folder
    write_evidence(work.evidence, work.block, evidence, within=slide_folder)
    # Dask may store a block again whose worker was lost, even after its slide was judged.
    if (slide_folder / TABLE).exists():
        shutil.rmtree(slide_folder / EVIDENCE, ignore_errors=True)


def judge_work(work: SlideWork) -> Judgement:
    """Judge a slide whose blocks are all done, and leave its tiles.parquet where there is anything to tell.

    Raises PixelError for a slide of which most could not be decoded: what is found in its white is nothing.
    """
    tiles, rules = _gather_tiles(work), work.rules
    if tiles.unreadable_pixels:
        _refuse_unreadable(work, tiles.unreadable_pixels)
    findings = {name: judge_tiles(*tiles.select(name), rules.fits[name], rules.refuse_below) for name in rules.fits}
    return Judgement(_judge_groups(work, findings), tiles.unreadable_pixels)


def _refuse_unreadable(work: SlideWork, lost: int) -> None:
    if lost > MOST_UNREADABLE * work.source_pixels:
        raise PixelError(
            f"{work.slide.path}: {lost / 1e6:.1f} of {work.source_pixels / 1e6:.1f} MP cannot be decoded, expected at "
            "most half; copy the slide again"
        )


def foresee_judgement(work: SlideWork) -> Judgement | None:
    """What a slide's judgement will say of its labels, before anything is found; None where that is to be seen."""
    if work.rules.selection or work.rules.drop_refused:
        return None
    return Judgement(_judge_groups(work, {}), 0)


def _judge_groups(work: SlideWork, findings: Mapping[str, Finding]) -> dict[str, Verdict]:
    verdicts: dict[str, Verdict] = {}
    for part in work.passes:
        for group in list_groups(part.canvas.targets):
            verdicts |= _judge_group(part, group, findings, work.rules)
    return verdicts


def _gather_tiles(work: SlideWork) -> TileTable:
    # The table is written before the blocks' files go: whoever was stopped in between finds one or the other, and who
    # finds a table after reading the files knows that another process may have taken some of them away.
    path, evidence = Path(work.folder, TABLE), Path(work.folder, EVIDENCE)
    table = None if path.exists() else _tabulate_evidence(work)
    if table is None or path.exists():
        table = read_tiles(path)
    elif evidence.exists():
        write_tiles(path, table)
    shutil.rmtree(evidence, ignore_errors=True)
    return table


def _tabulate_evidence(work: SlideWork) -> TileTable:
    return tabulate_tiles([_gather_pass(work, part) for part in work.passes], work.rules.fits, work.slide.grid)


def _gather_pass(work: SlideWork, part: PassWork) -> PassEvidence:
    targets = tuple(target.name for target in part.canvas.targets if target.name in work.rules.fits)
    evidence = read_evidence(name_evidence(part.canvas), part.plan.blocks, len(targets))
    return PassEvidence(Path(part.canvas.path).name, part.canvas.grid, targets, evidence)


def judge_tiles(
    statistics: NDArray[np.float64], p_values: NDArray[np.float64], fits: tuple[BetaFit, ...], refuse_below: float
) -> Finding:
    """What tiles with statistics [N, features] and p-values [N] say for a target.

    The median tile decides, not the one test over all of them: stain and scanner are those of one slide, and with a
    thousand tiles that test refuses every slide but those the fits were made of.
    """
    if not len(p_values):
        return Finding(0.0, 0.0, None, True)
    typical, refused = float(np.median(p_values)), float(np.mean(p_values < refuse_below))
    return Finding(judge_slide(statistics, fits), typical, refused, typical < refuse_below)


def _judge_group(part: PassWork, group: str, findings: Mapping[str, Finding], rules: Rules) -> dict[str, Verdict]:
    """Verdicts on targets that exclude each other; targets of several groups may share a pixel and never compete."""
    targets = [target for target in part.canvas.targets if target.group == group]
    dropped = {name for name, finding in findings.items() if finding.refused and rules.drop_refused}
    candidates = [target for target in targets if target.name not in dropped]
    present = _select(part, candidates, findings, rules.selection) if rules.selection else candidates
    names = {target.name for target in present}
    cuts = {t.name: MASK if rules.selection else quantize_threshold(t.threshold) for t in targets if t.name in names}
    return {t.name: Verdict(cuts.get(t.name, NEVER), findings.get(t.name)) for t in targets}


def _select(part: PassWork, targets: Sequence[Target], findings: Mapping[str, Finding], rule: Rule) -> list[Target]:
    channels = [part.canvas.targets.index(target) for target in targets]

    def read() -> Iterator[NDArray[np.uint8]]:
        return (read_region(part.canvas, block.region)[channels] for block in part.plan.blocks)

    if all(target.name in findings for target in targets):
        plausibility = [findings[target.name].typical for target in targets]
    else:
        plausibility = add_support(read(), len(channels), MASK).mean.tolist()
    return [targets[k] for k in select_present(read, rule, plausibility)]
