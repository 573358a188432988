"""Which targets a run asks for, and the passes over a slide that this takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wsiparse.errors import InputError
from wsiparse.ontology import Ontology, Target, list_groups


@dataclass(frozen=True)
class Pass:
    """Targets that share a working scale: one plan, one canvas."""

    mpp: float
    targets: tuple[Target, ...]

    @property
    def name(self) -> str:
        """Name of the pass and of its folder in parse.zarr: `0.5um`."""
        return f"{self.mpp:g}um"

    @property
    def groups(self) -> dict[str, tuple[Target, ...]]:
        """Exclusive groups, in the order in which their first target stands."""
        return {name: tuple(t for t in self.targets if t.group == name) for name in list_groups(self.targets)}


def choose_targets(ontology: Ontology, names: Sequence[str], prompts: Sequence[str]) -> tuple[Target, ...]:
    """The targets that names and prompts ask for, once each and in the ontology's order; all where nothing is asked.

    Raises TargetError with the nearest names for one that nobody knows.
    """
    if not ontology.targets:
        raise InputError("the ontology has no target; expected at least one [[target]] table")
    wanted = {ontology.find(text).name for text in (*names, *prompts)}
    return tuple(target for target in ontology.targets if not wanted or target.name in wanted)


def group_passes(targets: Sequence[Target]) -> tuple[Pass, ...]:
    """One pass for each working mpp, coarsest first, so that a person sees the overview early."""
    scales = sorted({target.mpp for target in targets}, reverse=True)
    return tuple(Pass(mpp, tuple(t for t in targets if t.mpp == mpp)) for mpp in scales)
