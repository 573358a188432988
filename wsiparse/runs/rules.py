"""How a run judges what its model found: which fits, which thresholds, which way of recognition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from wsiparse.errors import InputError
from wsiparse.files import find_config
from wsiparse.maps.selection import CODE, PAPER, Rule
from wsiparse.maps.validity import PAPER_THRESHOLD, Fits, choose_fits, load_fits
from wsiparse.ontology import Target
from wsiparse.runs.config import RunConfig

OFF = "off"
"""The setting `validity` of a run that asks for no test."""
RULES = {"paper": PAPER, "code": CODE}
"""Ways of recognition that select among targets; `threshold` selects nothing."""


@dataclass(frozen=True)
class Rules:
    """The rules of a run; small, and they pickle."""

    fits: Fits = field(default_factory=dict)
    """Of the run's targets, those that can be tested."""
    refuse_below: float = PAPER_THRESHOLD
    """A target is refused where the p-value of the median tile is below this."""
    drop_refused: bool = False
    """Leave out what is refused; else it is only marked."""
    selection: Rule | None = None
    """None takes each target by its own threshold."""


def make_rules(config: RunConfig, model: str, targets: Sequence[Target]) -> Rules:
    """The rules of a config for a model, by its name, and the targets of a run.

    Raises InputError for fits that cannot be read, and for fits named by the config that know none of the targets.
    """
    selection = RULES.get(config.recognition)
    chosen = replace(selection, share=config.win_share) if selection else None
    return Rules(_find_fits(config, model, targets), config.refuse_below, config.drop_refused, chosen)


def _find_fits(config: RunConfig, model: str, targets: Sequence[Target]) -> Fits:
    if config.validity == OFF:
        return {}
    path = config.validity or find_shipped(model)
    fits = load_fits(path) if path else {}
    chosen = choose_fits(fits, targets)
    if config.validity and not chosen:
        raise InputError(
            f"validity {path}: fits of {', '.join(fits)}, expected some of {', '.join(t.name for t in targets)}; "
            f"make them with `wsiparse models calibrate`, or say {OFF}"
        )
    return chosen


def find_shipped(model: str) -> Path | None:
    """The fits that ship for a model, however it is executed; None where there are none."""
    files = sorted(find_config("validity").glob("*.json"))
    return next((file for file in files if model.startswith(file.stem)), None)
