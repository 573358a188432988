"""What can be asked for: the targets of an ontology or a model, as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from wsiparse.ontology import Target
from wsiparse.views.tables import make_table


def show_targets(console: Console, targets: Sequence[Target]) -> None:
    """Targets with their layers, group, scale and field of view, and in a second table the words that ask for them."""
    scales = make_table("target", "layers", "group", "mpp ", "field µm ", "threshold ", "kind")
    words = make_table("target", "prompt", "also", "sites")
    for target in targets:
        layers, kind = f"{target.category} / {target.meta}", "objects" if target.instances else "region"
        field = f"{target.field_um:g}" if target.field_um else "the model's"
        scales.add_row(target.name, layers, target.group, f"{target.mpp:g}", field, f"{target.threshold:g}", kind)
        words.add_row(target.name, target.prompt, ", ".join(target.synonyms), ", ".join(target.sites) or "any")
    console.print(scales, "", words)
