"""How a run judges what its model found: which fits, which thresholds, which way of recognition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from wsiparse.errors import InputError
from wsiparse.files import find_config
from wsiparse.maps.selection import CODE, PAPER, Rule
from wsiparse.maps.validity import PAPER_THRESHOLD, Fits, choose_fits, load_fits
from wsiparse.ontology import Target
from wsiparse.runs.config import RunConfig

OFF = "off"
"""The setting `validity` of a run that asks for no test."""
PUBLISHED = "biomedparse-v1"
"""The model that the test was published with, and its fits; another model is tested where a run says by which fits."""
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

    Raises InputError for fits that cannot be read, for fits named by the config that know none of the targets, and
    where what is refused is to be dropped but nothing is tested.
    """
    fits = _find_fits(config, model, targets)
    if config.drop_refused and not fits:
        raise InputError(
            f"drop_refused: no fits for any of {', '.join(t.name for t in targets)}, so that nothing is ever refused; "
            "expected some by which to test; name them with --validity, or leave --drop-refused out"
        )
    selection = RULES.get(config.recognition)
    chosen = replace(selection, share=config.win_share) if selection else None
    return Rules(fits, config.refuse_below, config.drop_refused, chosen)


def _find_fits(config: RunConfig, model: str, targets: Sequence[Target]) -> Fits:
    if config.validity == OFF or not (config.validity or model.startswith(PUBLISHED)):
        return {}
    named = config.validity or PUBLISHED
    shipped = find_config("validity", f"{named}.json")
    fits = load_fits(shipped if shipped.exists() else named)
    chosen = choose_fits(fits, targets)
    if config.validity and not chosen:
        raise InputError(
            f"validity {named}: fits of {', '.join(fits)}, expected some of {', '.join(t.name for t in targets)}; "
            f"make them with `wsiparse models calibrate`, or say {OFF}"
        )
    return chosen
