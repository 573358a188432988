"""What is asked of every slide of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wsiparse.models.load import ModelSpec
from wsiparse.models.tile_sizes import TileSizes
from wsiparse.ontology import Target
from wsiparse.runs.config import RunConfig
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.passes import Pass, group_passes
from wsiparse.runs.room import Room
from wsiparse.runs.rules import Rules
from wsiparse.runs.targets import Match, narrow_targets


@dataclass(frozen=True)
class Order:
    """What is asked of every slide of a run; small, and it pickles."""

    config: RunConfig
    model: ModelSpec
    tiles: TileSizes
    """Sides and memory of the tiles that the model takes."""
    targets: tuple[Target, ...]
    """As the ontology has them, their prompts not yet told for a site unless a person's prompt named one."""
    matches: tuple[Match, ...]
    """What the texts that asked for them were taken for; none where nothing was asked."""
    output: str
    rules: Rules
    anew: bool = False
    """Begin slides anew that were begun under another plan, which else are refused."""
    room: Room | None = None
    """What several processes share, measured before they were started; None where whoever plans a slide measures it."""

    def folder(self, row: ManifestRow) -> Path:
        """Where a slide's results go."""
        return Path(self.output, row.id)

    @property
    def guesses(self) -> tuple[Match, ...]:
        """Matches of texts that are no name, synonym or prompt."""
        return tuple(match for match in self.matches if not match.is_exact)

    def passes_of(self, row: ManifestRow) -> tuple[Pass, ...]:
        """The passes over a slide."""
        return group_passes(self.targets_of(row), self.tiles)

    def targets_of(self, row: ManifestRow) -> tuple[Target, ...]:
        """The run's targets, or those among them that the slide's row names, as they are asked for at its site."""
        return narrow_targets(self.targets, row, self.config.site)
